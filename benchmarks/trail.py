"""What the trail costs: a save, a bulk insert, an update of many, a heartbeat; sealing; search; export.

    script/bench trail [--entries 1000000] [--only writes,seal,search,export]

The untrailed time is the same work in the same run with the table's trail triggers switched off, rounds alternating.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from .setup import fresh_tenant, save, start_django, table

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

    found = [
        compare("`save()` of a change, a scope each", saves_alone),
        compare("`save()` of a change, all in one transaction", saves_together),
        compare("`save()` of a new row, a scope each", autocommit),
        compare("`bulk_create` of 20,000 rows", bulk, rounds=5),
    ]
    with untrailed(TABLE), tenant_scope(tenant.pk):
        CanonicalWorkflow.objects.bulk_create(flows(20_000))
    found.append(compare("`update()` of 20,000 rows", update_many, rounds=3))
    found.append(compare("a heartbeat of a job (leaves no entry)", heartbeats, table="background_jobs"))
    return [*found, effects(tenant)]


def effects(tenant: Any) -> list[str]:
    """An effect of a job that does nothing outside: its step alone, and with its two events in the trail."""
    from operations import engine
    from operations.effects import Effect, ExternalCall, ProbeResult
    from operations.models import Operation
    from tenants.scope import tenant_scope

    count, ident = 2000, uuid.uuid4()

    def made(number: int, trailed: bool) -> Effect:
        facts = {
            "method": "PUT", "path": f"/workflows/{uuid.uuid4().hex[:16]}", "key": f"workflow-{number}",
            "hash_before": uuid.uuid4().hex * 2, "hash_wanted": uuid.uuid4().hex * 2,
        }  # fmt: skip
        said = ExternalCall("n8n", "environments", ident, f"Production: Workflow number {number}", facts)
        result = {"outcome": "updated", "env_workflow_id": "w", "content_hash": facts["hash_wanted"]}
        name = f"promote:write:workflow-{number}"
        return Effect(name, name, facts, lambda: result, lambda _i: ProbeResult.not_done(), said if trailed else None)

    def took(trailed: bool) -> float:
        with tenant_scope(tenant.pk):
            job = Operation.objects.create(tenant=tenant, kind="x", title="x")
        run = engine.claim(operation_id=job.pk, tenant_id=tenant.pk, lease_seconds=600)
        assert run is not None
        wanted = [made(number, trailed) for number in range(count)]
        began = time.perf_counter()
        run.effects(wanted, concurrency=4, chunk=64)
        return (time.perf_counter() - began) / count

    took(True)
    pairs = [(took(True), took(False)) for _ in range(ROUNDS)]
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    return ["an effect outside, of 2,000 in a job", f"{b * 1000:.2f} ms", f"{a * 1000:.2f} ms", f"{a / b:.2f}"]


#: One of 200 that share two thirds of the entries.
SMALL_TENANT = uuid.UUID(hashlib.md5(b"t50", usedforsecurity=False).hexdigest())
SPREAD = """
INSERT INTO audit_logentry (timestamp, tenant_id, actor_id, acting_as_id, session_id, cid, source, action, action_name,
                            resource_type, resource_id, object_pk, object_repr, details, remote_addr, transaction_id)
SELECT now() - make_interval(secs => 20 * (%(count)s - n)),
       CASE WHEN n %% 3 = 0 THEN %(tenant)s ELSE md5('t' || n %% 200)::uuid END, md5('a' || n %% 2000)::uuid,
       CASE WHEN n %% 50 = 0 THEN md5('s' || n %% 500)::uuid END, CASE WHEN n %% 50 = 0 THEN md5('ss' || n / 500)::uuid END,
       md5('r' || n / 4), (ARRAY['web', 'api', 'task'])[1 + n %% 3], n %% 3,
       CASE WHEN n %% 5000 = 0 THEN 'SIGN_IN_FAILED' ELSE (ARRAY['CREATE', 'UPDATE', 'DELETE'])[1 + n %% 3] END,
       (ARRAY['environments', 'promotions', 'snapshots', 'workflow_env_map'])[1 + n %% 4], md5('o' || n %% 50000)::uuid,
       md5('o' || n %% 50000)::uuid::text, 'Object ' || n %% 50000,
       jsonb_build_object('previous_value', jsonb_build_object('name', 'Before ' || n), 'new_value',
                          jsonb_build_object('name', 'After ' || n)), '192.0.2.7',
       (3 + n::bigint * (pg_current_xact_id()::text::bigint - 4) / %(count)s)::text::xid8
  FROM generate_series(1, %(count)s) AS n
"""


#: A month of its own for each that has passed, as in a console that has been up that long.
MONTHS = """
DO $body$
DECLARE
    first_day date;
    part text;
BEGIN
    FOR back IN 1..ceil(%(count)s * 20.0 / 86400 / 28)::int LOOP
        first_day := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => back))::date;
        part := 'audit_logentry_' || to_char(first_day, 'YYYY_MM');
        EXECUTE format('CREATE TABLE IF NOT EXISTS %%I PARTITION OF audit_logentry FOR VALUES FROM (%%L) TO (%%L)', part,
            first_day || ' 00:00+00', (first_day + interval '1 month')::date || ' 00:00+00');
    END LOOP;
END
$body$
"""


def fill(tenant: Any, count: int) -> None:
    """A trail of ``count`` entries, a third of them of one tenant. Indexes are made when all are there: far quicker."""
    with owner() as connection:
        connection.execute("SET maintenance_work_mem = '256MB'")
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_logentry' AND indexname LIKE 'audit_entry_%'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.execute(MONTHS.replace("%(count)s", str(count)).replace("%%", "%"))
        connection.execute(SPREAD.replace("%(count)s", str(count)), {"tenant": tenant.pk})
        for _, definition in indexes:
            connection.execute(definition.replace(" ON ONLY ", " ON "))
        connection.execute("VACUUM ANALYZE audit_logentry")


def sealing(entries: int) -> list[list[str]]:
    from audit.sealing import seal_trail

    began = time.perf_counter()
    count = seal_trail(limit=entries)
    took = time.perf_counter() - began
    return [[f"sealing {count:,} entries", f"{took:.1f} s", f"{count / took:,.0f} entries/s"]]


def searches(tenant: Any) -> list[list[str]]:
    """p95 of every kind of narrowing, first and second page: a tenant with a third of all, one with 0.3 %, the platform."""
    from audit.models import AuditLog
    from audit.selectors import TrailFilter, list_trail
    from tenants.scope import platform_scope, tenant_scope

    def some(tenant_id: uuid.UUID) -> list[Any]:
        with platform_scope():
            rows = list(AuditLog.objects.filter(tenant_id=tenant_id, session_id__isnull=False).order_by("id")[:2000])
        return rows[:: max(1, len(rows) // 50)]

    def measure(wanted: TrailFilter, tenant_id: uuid.UUID | None) -> list[float]:
        """The milliseconds of the first page and, where there is one, of the second."""
        times, cursor = [], ""
        for _page in range(2):
            with tenant_scope(tenant_id) if tenant_id else platform_scope():
                began = time.perf_counter()
                page = list_trail(wanted, cursor=cursor)
                times.append((time.perf_counter() - began) * 1000)
            cursor = page.next_cursor
            if not cursor:
                break
        return times

    places = {"tenant": (tenant.pk, some(tenant.pk)), "small tenant": (SMALL_TENANT, some(SMALL_TENANT))}
    found = []
    for name, make in {
        "everything": lambda e: {},
        "person": lambda e: {"person": str(e.actor_user_id)},
        "acted-as": lambda e: {"acted_as": str(e.impersonated_user_id)},
        "object": lambda e: {"resource_id": str(e.resource_id)},
        "kind": lambda e: {"resource_type": e.resource_type},
        "kind and action": lambda e: {"resource_type": e.resource_type, "action": e.action},
        "a kind that the small one has none of": lambda e: {"resource_type": "environments"},
        "action, rare": lambda e: {"action": "SIGN_IN_FAILED"},
        "time": lambda e: {"since": e.created_at.isoformat(), "until": (e.created_at + timedelta(hours=1)).isoformat()},
        "session": lambda e: {"session": str(e.session_id)},
        "request": lambda e: {"request": e.request_id},
    }.items():
        for where in ("tenant", "small tenant", "platform"):
            tenant_id, entries = places.get(where, (None, places["tenant"][1]))
            times = [took for entry in entries for took in measure(TrailFilter(**make(entry)), tenant_id)]
            p95 = statistics.quantiles(times, n=20)[18]
            found.append([f"{name}, {where}", f"{statistics.median(times):.1f} ms", f"{p95:.1f} ms"])
    return found


def events(tenant: Any) -> list[list[str]]:
    """Pages of 200 OCSF events, one after the other, from the beginning."""
    from audit.ocsf import events_since
    from tenants.scope import platform_scope, tenant_scope

    found = []
    for where, tenant_id in (("tenant", tenant.pk), ("small tenant", SMALL_TENANT), ("platform", None)):
        times, cursor = [], ""
        for _page in range(15):
            with tenant_scope(tenant_id) if tenant_id else platform_scope():
                began = time.perf_counter()
                page = events_since(cursor)
                times.append((time.perf_counter() - began) * 1000)
            cursor = page.cursor
        found.append([f"OCSF, {where}", f"{statistics.median(times):.1f} ms", f"{max(times):.1f} ms"])
    return found


def exports() -> list[list[str]]:
    """The export to a file against PostgreSQL's own COPY of the same columns to one."""
    from audit.export import COLUMNS, export_trail
    from audit.selectors import TrailFilter
    from tenants.scope import platform_scope

    def ours(path: Path) -> tuple[float, int]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        with path.open("wb") as out, platform_scope():
            manifest = export_trail(TrailFilter(), kind="csv", write=out.write)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return time.perf_counter() - began, grown if manifest.rows else 0

    def bare(path: Path) -> float:
        names = ", ".join(COLUMNS)
        copy = f"\\copy (SELECT {names} FROM audit_logs ORDER BY created_at, id) TO '{path}' (FORMAT csv, HEADER)"
        began = time.perf_counter()
        subprocess.run(["psql", "-Xqd", os.environ["DATABASE_OPERATOR_URL"], "-c", copy], check=True)
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "ours.csv", Path(folder) / "bare.csv"
        pairs = [(ours(first), bare(second)) for _ in range(3)]
        size = first.stat().st_size / 1e6
    a, b = statistics.median(p[0][0] for p in pairs), statistics.median(p[1] for p in pairs)
    grown = max(p[0][1] for p in pairs) / 1024
    return [["CSV of everything", f"{size:.0f} MB", f"{b:.1f} s", f"{a:.1f} s", f"{a / b:.2f}", f"{grown:.0f} MB"]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="writes,seal,search,export")
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    start_django()
    tenant, _ = fresh_tenant()
    body = ""
    if "writes" in options.only:
        body += "## Writes\n\nMedians; targets: `save()` ≤ 1.6, `bulk_create` ≤ 3.\n\n"
        body += table(["what", "untrailed", "trailed", "ratio"], writes(tenant))
    if {"seal", "search", "export"} & set(options.only.split(",")):
        fill(tenant, options.entries)
    if "search" in options.only:
        body += (
            f"\n## Search in {options.entries:,} entries\n\nOne page of 50, first or second; target: p95 ≤ 100 ms.\n\n"
        )
        body += table(["narrowed by", "median", "p95"], searches(tenant))
        body += "\nPages of 200 events for a SIEM, one after the other.\n\n"
        body += table(["whose", "median", "slowest"], events(tenant))
    if "export" in options.only:
        body += f"\n## Export of {options.entries:,} entries\n\nTarget: ≤ 2 × PostgreSQL's COPY, flat memory.\n\n"
        body += table(["what", "size", "COPY", "export", "ratio", "memory grew"], exports())
    if "seal" in options.only:
        body += "\n## Sealing\n\n" + table(["what", "time", "rate"], sealing(100_000))
    command = f"script/bench trail --entries {options.entries}"
    save("trail", command=command, title="What the trail costs", body=body)


if __name__ == "__main__":
    main()
