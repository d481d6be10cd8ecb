"""What the outbox costs: a write that publishes, and many events through a consumer; and whether any is lost.

    script/bench outbox [--events 100000] [--rounds 7]

A write is measured beside the same write without its event, and beside an INSERT of the same bytes into a table without
row security, trail, keys or indexes. Events through a consumer are measured beside the bare work: the same rows, read
by their number in batches of the same size, each with the same INSERT as its effect, committed batch by batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg

from .setup import fresh_tenant, save, start_django, table

WRITES = 300
TENANTS = 20
ROLES = "opsconsole_app, opsconsole_tenant, opsconsole_platform"
TABLES = f"""
DROP TABLE IF EXISTS bench_plain, bench_effects, bench_bare_effects;
CREATE TABLE bench_plain (id uuid, payload jsonb, at timestamptz);
CREATE TABLE bench_effects (number bigserial, event_id uuid, tenant uuid, place int);
CREATE TABLE bench_bare_effects (number bigserial, event_id uuid, tenant uuid, place int);
GRANT ALL ON bench_plain, bench_effects, bench_bare_effects TO {ROLES};
GRANT ALL ON SEQUENCE bench_effects_number_seq, bench_bare_effects_number_seq TO {ROLES};
"""
PUBLISHED = """
INSERT INTO outbox_events (id, tenant_id, name, version, payload, caused_by, occurred_at)
SELECT gen_random_uuid(), %(tenants)s[1 + n %% %(count)s], 'bench.happened', 1,
       jsonb_build_object('place', n, 'text', 'Something happened to number ' || n), '{"source": "system"}', now()
  FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""


class Happened(msgspec.Struct, frozen=True):
    place: int
    text: str


def owner() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)


def install() -> None:
    """An event and a consumer whose effect is one row."""
    from django.db import connection

    from core.events import Consumer, Delivery, EventType
    from core.registry import Console, registry

    def handle(delivery: Delivery[Happened]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bench_effects (event_id, tenant, place) VALUES (%s, %s, %s)",
                [delivery.event_id, delivery.tenant_id, delivery.event.place],
            )

    registry.consoles["benchmarks"] = Console(
        events=(EventType(name="bench.happened", payload=Happened, words="Something happened"),),
        consumers=(Consumer(name="bench.count", events=(Happened,), handle=handle),),
    )


def each(work: Callable[[], None]) -> float:
    """Milliseconds for one of ``WRITES``."""
    began = time.perf_counter()
    for _ in range(WRITES):
        work()
    return (time.perf_counter() - began) / WRITES * 1000


def writes(tenant: Any, rounds: int) -> list[list[str]]:
    """A row of a tenant with and without an event, and a bare INSERT; rounds alternating."""
    from django.db import connection

    from core import context
    from outbox import publishing
    from outbox.publishing import publish
    from tenants.scope import tenant_scope
    from workflows.models import CanonicalWorkflow

    publishing.current_app.send_task = lambda *args, **kwargs: None  # the broker is measured by nobody here

    def cause() -> None:
        CanonicalWorkflow.objects.create(tenant_id=tenant.pk, key=uuid.uuid4().hex, name="Bench")

    def alone() -> None:
        with tenant_scope(tenant.pk):
            cause()

    def publishing_too() -> None:
        with tenant_scope(tenant.pk):
            cause()
            publish(Happened(1, "Something happened to a workflow"), tenant_id=tenant.pk)

    def event_in_scope() -> None:
        publish(Happened(1, "Something happened to a workflow"), tenant_id=tenant.pk)

    def plain() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bench_plain (id, payload, at) VALUES (%s, %s, now())",
                [uuid.uuid4(), '{"place": 1, "text": "Something happened to a workflow"}'],
            )

    def inside(work: Callable[[], None]) -> float:
        with tenant_scope(tenant.pk):
            return each(work)

    kinds: dict[str, Callable[[], float]] = {
        "the cause alone, a transaction each": lambda: each(alone),
        "the cause and its event, a transaction each": lambda: each(publishing_too),
        "a bare INSERT, a transaction each": lambda: each(plain),
        "the cause alone, all in one transaction": lambda: inside(cause),
        "the event alone, all in one transaction": lambda: inside(event_in_scope),
        "a bare INSERT, all in one transaction": lambda: inside(plain),
    }
    assert context.current().source
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, work in kinds.items():
            took = work()
            if number:
                found[name].append(took)
    return _write_rows(found)


def _write_rows(found: dict[str, list[float]]) -> list[list[str]]:
    medians = {name: statistics.median(values) for name, values in found.items()}
    rows = []
    for name, value in medians.items():
        mode = name.rpartition(", ")[2]
        cause, bare = medians[f"the cause alone, {mode}"], medians[f"a bare INSERT, {mode}"]
        rows.append([name, f"{value:.2f} ms", f"{value / cause:.2f}", f"{value / bare:.2f}"])
    return rows


def fill(tenants: list[Any], events: int) -> None:
    """Publish, 1,000 in a transaction."""
    with owner() as connection:
        for first in range(0, events, 1000):
            last = min(first + 1000, events) - 1
            values = {"tenants": [t.pk for t in tenants], "count": len(tenants), "first": first, "last": last}
            connection.execute(PUBLISHED, values)
        connection.execute("VACUUM ANALYZE outbox_events")


def consumed() -> tuple[float, float]:
    """Seconds to number the events, and to hand them to the consumer."""
    from core.registry import registry
    from outbox.delivery import deliver, enrol
    from outbox.sequencing import sequence
    from tenants.scope import platform_scope

    with platform_scope():
        enrol()
    began = time.perf_counter()
    sequence()
    numbered = time.perf_counter()
    deliver(registry.consumers()["bench.count"])
    return numbered - began, time.perf_counter() - numbered


def bare(batch: int, first: int) -> tuple[float, float]:
    """Seconds of a bare SELECT of the same events, and of that with the same effects."""
    select = (
        "SELECT id, tenant_id, payload, sequence FROM outbox_events"
        " WHERE sequence > %s AND name = 'bench.happened' ORDER BY sequence LIMIT %s"
    )

    def read(effects: bool) -> float:
        began, last = time.perf_counter(), first
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as connection:
            while rows := connection.execute(select, [last, batch]).fetchall():
                for event_id, tenant, payload, _number in rows if effects else ():
                    connection.execute(
                        "INSERT INTO bench_bare_effects (event_id, tenant, place) VALUES (%s, %s, %s)",
                        [event_id, tenant, payload["place"]],
                    )
                last = rows[-1][3]
                connection.commit()
        return time.perf_counter() - began

    return read(False), read(True)


def verdict(events: int) -> str:
    """Fails where an event was lost, handled twice, or out of its tenant's order."""
    with owner() as connection:
        count, different = connection.execute("SELECT count(*), count(DISTINCT event_id) FROM bench_effects").fetchone()
        (out_of_order,) = connection.execute(
            "SELECT count(*) FROM (SELECT place, lag(place) OVER (PARTITION BY tenant ORDER BY number) AS before"
            "   FROM bench_effects) AS steps WHERE place < before"
        ).fetchone()
    if (count, different, out_of_order) != (events, events, 0):
        raise SystemExit(f"{events} events, {count} effects of {different} events, {out_of_order} out of order")
    return f"{events:,} events published, {count:,} effects of {different:,} events, {out_of_order} out of their tenant's order."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    start_django()
    with owner() as connection:
        connection.execute(TABLES)
        connection.execute("DELETE FROM outbox_events")
    install()
    tenants = [fresh_tenant()[0] for _ in range(TENANTS)]
    written = writes(tenants[0], options.rounds)
    with owner() as connection:
        connection.execute("DELETE FROM outbox_events")
        found = connection.execute("SELECT last_sequence FROM outbox_order").fetchone()
    fill(tenants, options.events)
    numbering, handing = consumed()
    from outbox.delivery import BATCH

    reading, working = bare(BATCH, found[0] if found else 0)

    def row(name: str, seconds: float) -> list[str]:
        return [name, f"{seconds:.1f} s", f"{options.events / seconds:,.0f}", f"{seconds / working:.2f}"]

    through = [
        row("bare SELECT", reading),
        row("bare SELECT and the effects", working),
        row("numbering", numbering),
        row("consumer: reading, effects, cursor", handing),
        row("numbering and consumer", numbering + handing),
    ]
    body = (
        f"Medians of {options.rounds} rounds of {WRITES} writes. The cause is a row of a tenant with its entry in the trail.\n\n"
        + table(["write", "each", "ratio to the cause", "ratio to a bare INSERT"], written)
        + f"\n## {options.events:,} events of {TENANTS} tenants through one consumer, one process\n\n"
        + table(["what", "time", "events a second", "ratio to bare SELECT and effects"], through)
        + f"\n{verdict(options.events)}\n"
    )
    save("outbox", command=f"script/bench outbox --events {options.events}", title="What the outbox costs", body=body)
    with owner() as connection:
        connection.execute("DROP TABLE bench_plain, bench_effects, bench_bare_effects")


if __name__ == "__main__":
    main()
