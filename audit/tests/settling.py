"""Seals and exports wait for every transaction that began earlier, and a cluster has those of other tests as well."""

from __future__ import annotations

from django.db import connection

from tenants.scope import platform_scope
from tests.waiting import until


def settled() -> None:
    """Wait until every transaction that began before the last entry is over, those of other databases as well."""

    def oldest_is_younger() -> bool:
        with platform_scope(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(max(transaction_id) < pg_snapshot_xmin(pg_current_snapshot()), true)"
                " FROM audit_logentry WHERE epoch = (SELECT max(epoch) FROM audit_logentry)"
            )
            return bool(cursor.fetchone()[0])

    until("nobody else's transaction holds the trail back", oldest_is_younger, seconds=300)
