"""Whether the trail is sealed, and whether the head of its chain comes through to where it is anchored."""

from datetime import timedelta
from typing import Any

from django.db import connection

from core import clock
from tenants.scope import platform_scope

from .anchors import failing
from .sealing import last_sealed

LATE = timedelta(minutes=10)
MOST_COUNTED = 10_000


def anchored() -> dict[str, Any]:
    event = failing()
    return {"status": "ok"} if event is None else {"status": "failed", "not_anchored_since": event.created_at}


def sealed() -> dict[str, Any]:
    """How many entries wait for a seal, and since when; failed where the oldest waits for longer than ten minutes."""
    with platform_scope(read_only=True), connection.cursor() as cursor:
        last = last_sealed()
        cursor.execute(
            "SELECT count(*), min(timestamp) FROM (SELECT timestamp FROM audit_logentry"
            " WHERE (epoch, transaction_id, id) > (%s, %s::xid8, %s) LIMIT %s) AS waiting",
            [last.epoch, str(last.xid), last.entry, MOST_COUNTED],
        )
        waiting, since = cursor.fetchone()
    is_late = since is not None and clock.now() - since > LATE
    message = f"{waiting} {'entry' if waiting == 1 else 'entries'} not sealed yet." if waiting else "All is sealed."
    if is_late:
        message += " The sealer does not run, or cannot: see its log."
    return {
        "status": "failed" if is_late else "ok",
        "message": message,
        "waiting_entries": waiting,
        "waiting_since": since,
    }
