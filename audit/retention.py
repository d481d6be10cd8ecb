"""The only way out of the trail: whole months, sealed, without a hold, by the tables' owner; the seals stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
import psycopg
from psycopg import sql

from core import clock
from core.errors import Conflict
from core.wording import counted

EVENT = "TRAIL_MONTH_RETIRED"


@dataclass(frozen=True, slots=True)
class Retired:
    """A month that left: its table (detached or gone), how many entries and seals."""

    month: str
    table: str
    entries: int
    seals: int


def months_before(owner: psycopg.Connection[Any], *, keep_months: int) -> list[str]:
    """Months (``YYYY-MM``) with a partition of their own that are older than ``keep_months`` full months."""
    today = clock.now().date()
    first = date(today.year, today.month, 1)
    for _ in range(keep_months):
        first = date(first.year - (first.month == 1), (first.month - 2) % 12 + 1, 1)
    rows = owner.execute(
        "SELECT right(c.relname, 7) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'audit_logentry'::regclass AND c.relname ~ '^audit_logentry_[0-9]{4}_[0-9]{2}$'"
    ).fetchall()
    months = sorted(row[0].replace("_", "-") for row in rows)
    return [month for month in months if month < f"{first:%Y-%m}"]


def retire_month(owner: psycopg.Connection[Any], month: str, *, drop: bool) -> Retired:
    """Detach a month (and drop its table). Raises ``Conflict`` while it is not all sealed, or a hold keeps it.

    The event that says so is an entry like any other and is sealed with the next batch: the verifier takes it as the
    reason why the month's seals have no entries any more.
    """
    table = f"audit_logentry_{month.replace('-', '_')}"
    name = sql.Identifier(table)
    with owner.transaction():
        owner.execute("SELECT set_config('opsconsole.source', 'shell', true)")
        held = owner.execute(
            "SELECT t.slug FROM legal_holds h JOIN tenants t ON t.id = h.tenant_id WHERE h.released_at IS NULL"
            " AND EXISTS (SELECT FROM audit_logentry e WHERE e.tenant_id = h.tenant_id"
            " AND e.timestamp >= %s::timestamptz AND e.timestamp < %s::timestamptz + interval '1 month')",
            [f"{month}-01 00:00+00", f"{month}-01 00:00+00"],
        ).fetchall()
        if held:
            raise Conflict(f"A legal hold keeps {month}: {', '.join(sorted({row[0] for row in held}))}.")
        owner.execute(sql.SQL("ALTER TABLE audit_logentry DETACH PARTITION {}").format(name))
        owner.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
        # Compared by count: a seal is of one month, and holds all of its entries or none.
        entries = _one(owner, sql.SQL("SELECT count(*) FROM {}").format(name))
        sealed = owner.execute(
            "SELECT coalesce(sum(entries), 0), count(*) FROM audit_seal WHERE month = %s", [month]
        ).fetchone()
        assert sealed is not None  # noqa: S101 -- an aggregate
        if sealed[0] != entries:
            raise Conflict(
                f"{month} has {counted(entries, 'entry', 'entries')}, of which {sealed[0]} are sealed.",
                recovery="Run manage.py seal_trail, then manage.py verify_trail, before anything leaves.",
            )
        event = {
            "source": "shell",
            "action": EVENT,
            "resource_type": "audit_logentry",
            "name": month,
            "details": {"month": month, "entries": entries, "seals": sealed[1], "dropped": drop},
        }
        owner.execute("SELECT opsconsole_record_events(%s)", [orjson.dumps([event]).decode()])
        if drop:
            owner.execute(sql.SQL("DROP TABLE {}").format(name))
    return Retired(month, table, entries, sealed[1])


def _one(owner: psycopg.Connection[Any], query: sql.Composed) -> int:
    row = owner.execute(query).fetchone()
    return int(row[0]) if row else 0
