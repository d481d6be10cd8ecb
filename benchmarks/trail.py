"""What the trail costs: a save, a bulk insert, an update of many, a heartbeat; sealing; search; export.

    script/bench trail [--entries 1000000] [--only writes,seal,search,export]

The untrailed time is the same work in the same run with the table's trail triggers switched off, rounds alternating.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import psycopg

from .setup import fresh_tenant, start_django

TABLE = "canonical_workflows"
ROUNDS = 7


def owner() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)


@contextmanager
def untrailed(table: str) -> Any:
    """The table without its trail."""
    with owner() as connection:
        for kind in ("insert", "update", "delete"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER trail_{kind}")
        try:
            yield
        finally:
            for kind in ("insert", "update", "delete"):
                connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER trail_{kind}")


def compare(name: str, work: Callable[[], float], table: str = TABLE, rounds: int = ROUNDS) -> list[str]:
    """A row of the table: medians of both and their ratio."""
    work()
    with_trail, without = [], []
    for _ in range(rounds):
        with_trail.append(work())
        with untrailed(table):
            without.append(work())
    a, b = statistics.median(with_trail), statistics.median(without)
    return [name, f"{b * 1000:.2f} ms", f"{a * 1000:.2f} ms", f"{a / b:.2f}"]


def writes(tenant: Any) -> list[list[str]]:
    """Rows of the table of writes."""
    from django.db import connection

    from operations.models import Operation
    from tenants.scope import tenant_scope
    from workflows.models import CanonicalWorkflow

    def flows(count: int) -> list[Any]:
        mark = uuid.uuid4().hex[:8]
        return [
            CanonicalWorkflow(tenant_id=tenant.pk, key=f"{mark}-{n}", name=f"Workflow number {n} of the benchmark")
            for n in range(count)
        ]

    with tenant_scope(tenant.pk):
        row = flows(1)[0]
        row.save()
        job = Operation.objects.create(tenant=tenant, kind="x", title="x")

    def saves_alone() -> float:
        """200 saves, each in its own scope and transaction, as the console does it."""
        began = time.perf_counter()
        for number in range(200):
            row.name = f"Name {time.time_ns()} {number}"
            with tenant_scope(tenant.pk):
                row.save()
        return (time.perf_counter() - began) / 200

    def saves_together() -> float:
        """200 saves in one transaction: nothing but the statement."""
        with tenant_scope(tenant.pk):
            began = time.perf_counter()
            for number in range(200):
                row.name = f"Name {time.time_ns()} {number}"
                row.save()
            return (time.perf_counter() - began) / 200

    def autocommit() -> float:
        """200 creations, each in its own scope."""
        rows = flows(200)
        began = time.perf_counter()
        for each in rows:
            with tenant_scope(tenant.pk):
                each.save(force_insert=True)
        return (time.perf_counter() - began) / 200

    def bulk() -> float:
        rows = flows(20_000)
        began = time.perf_counter()
        with tenant_scope(tenant.pk):
            CanonicalWorkflow.objects.bulk_create(rows)
        took = time.perf_counter() - began
        with untrailed(TABLE), tenant_scope(tenant.pk):
            CanonicalWorkflow.objects.exclude(pk=row.pk)._raw_delete("default")
        return took

    def update_many() -> float:
        began = time.perf_counter()
        with tenant_scope(tenant.pk):
            CanonicalWorkflow.objects.update(name=f"Name {time.time_ns()}")
        return time.perf_counter() - began

    def heartbeats() -> float:
        began = time.perf_counter()
        for _ in range(200):
            with tenant_scope(tenant.pk), connection.cursor() as cursor:
                cursor.execute("UPDATE background_jobs SET heartbeat_at = clock_timestamp() WHERE id = %s", [job.pk])
        return (time.perf_counter() - began) / 200

    table = [
        compare("`save()` of a change, a scope each", saves_alone),
        compare("`save()` of a change, all in one transaction", saves_together),
        compare("`save()` of a new row, a scope each", autocommit),
        compare("`bulk_create` of 20,000 rows", bulk, rounds=5),
    ]
    with untrailed(TABLE), tenant_scope(tenant.pk):
        CanonicalWorkflow.objects.bulk_create(flows(20_000))
    table.append(compare("`update()` of 20,000 rows", update_many, rounds=3))
    table.append(compare("a heartbeat of a job (leaves no entry)", heartbeats, table="background_jobs"))
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="writes")
    options = parser.parse_args()
    start_django()
    tenant, _ = fresh_tenant()
    if "writes" in options.only:
        for line in writes(tenant):
            print(" | ".join(line))


if __name__ == "__main__":
    main()
