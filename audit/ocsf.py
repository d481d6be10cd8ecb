"""Entries as OCSF events, for a SIEM: in order of commitment, at least once, with ids that stay the same.

A cursor is a position in the order (epoch, transaction, id). Only what is below the oldest running transaction is
handed out, so nothing that commits late is passed over; see docs/adr/0007-trail.md for epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection

from core.paging import BadCursor, decode, encode

from .models import LogEntry

VERSION = "1.3.0"
API_ACTIVITY, AUTHENTICATION = 6003, 3002
ACTIVITIES = {"CREATE": 1, "UPDATE": 3, "DELETE": 4}
LOGON, LOGOFF, OTHER = 1, 2, 99
SIGN_INS = {"SIGN_IN": (LOGON, True), "SIGN_IN_FAILED": (LOGON, False), "SIGN_OUT": (LOGOFF, True),
           "SECOND_FACTOR_FAILED": (LOGON, False)}  # fmt: skip
UNSETTLED = ("EFFECT_INTENDED", "EFFECT_UNKNOWN")
FAILURES = ("BLOCKED", "FAILED", "REFUSED", "DENIED")

_LINEAGE = """
SELECT coalesce((SELECT max(epoch) FROM audit_epoch WHERE settled_xid <= pg_snapshot_xmin(pg_current_snapshot())), 1)
"""
#: One epoch at a time: nearly all entries share theirs, so a comparison that began with it would look to the planner as
#: if it left nothing, and everything would be read and sorted for each page.
_NEXT = """
SELECT e.* FROM audit_logentry e
 WHERE e.epoch = %s AND (e.transaction_id, e.id) > (%s::xid8, %s)
   AND (%s OR e.transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
 ORDER BY e.transaction_id, e.id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Events:
    """Events and the cursor behind the last; with none, the cursor that was given."""

    events: list[dict[str, Any]]
    cursor: str


def events_since(cursor: str = "", *, limit: int = 200) -> Events:
    """The next events in the scope in force. Raises ``BadCursor`` for a cursor of another list."""
    position = (0, 0, 0)
    if cursor:
        try:
            epoch, xid, entry = (int(value) for value in decode(cursor, 3))
        except (TypeError, ValueError) as error:
            raise BadCursor from error
        position = (epoch, xid, entry)
    rows = _rows_after(position, limit)
    if rows:
        position = (rows[-1].epoch, rows[-1].transaction_id, rows[-1].pk)
    return Events([to_ocsf(row) for row in rows], encode(list(position)))


def _rows_after(position: tuple[int, int, int], limit: int) -> list[LogEntry]:
    """The next entries; of the epoch that is still written to, only what nothing under way can come before."""
    with connection.cursor() as cursor:
        cursor.execute(_LINEAGE)
        lineage = int(cursor.fetchone()[0])
    first, xid, entry = position
    rows: list[LogEntry] = []
    for epoch in range(max(first, 1), lineage + 1):
        after = (xid, entry) if epoch == first else (0, 0)
        asked = [epoch, str(after[0]), after[1], epoch < lineage, limit - len(rows)]
        rows += LogEntry.objects.raw(_NEXT, asked)
        if len(rows) == limit:
            break
    return rows


def to_ocsf(entry: LogEntry) -> dict[str, Any]:
    """One entry; empty facts are left out."""
    sign_in = SIGN_INS.get(entry.action_name)
    event = {
        **_classified(entry.action_name),
        "time": int(entry.timestamp.timestamp() * 1000),
        "metadata": {
            "uid": f"{entry.epoch}-{entry.transaction_id}-{entry.pk}",
            "version": VERSION,
            "product": {"name": "OpsConsole", "vendor_name": "OpsConsole"},
            "correlation_uid": entry.cid,
            "tenant_uid": _text(entry.tenant_id),
        },
        "actor": {
            "user": {"uid": _text(entry.actor_id)},
            "session": {"uid": _text(entry.session_id)},
            "app_name": entry.source,
        },
        "user": {"uid": _text(entry.resource_id if sign_in else entry.acting_as_id)},
        "api": {"operation": entry.action_name, "service": {"name": entry.source}},
        "src_endpoint": {"ip": entry.remote_addr or ""},
        "resources": [{"type": entry.resource_type, "uid": entry.object_pk, "name": entry.object_repr}],
        "unmapped": {
            "operation_id": _text(entry.operation_id),
            "database_role": entry.database_role,
            "details": entry.details,
        },
    }
    return {name: value for name, value in ((n, _without_empty(v)) for n, v in event.items()) if value not in ({}, [])}


def _classified(action: str) -> dict[str, Any]:
    """What kind of event an action is, and how it went."""
    sign_in = SIGN_INS.get(action)
    failed = (sign_in is not None and not sign_in[1]) or action.endswith(FAILURES)
    kind = AUTHENTICATION if sign_in else API_ACTIVITY
    activity = sign_in[0] if sign_in else ACTIVITIES.get(action, OTHER)
    return {
        "class_uid": kind,
        "category_uid": kind // 1000,
        "activity_id": activity,
        "activity_name": action,
        "type_uid": kind * 100 + activity,
        "severity_id": 3 if failed else 1,
        "status_id": 0 if action in UNSETTLED else 2 if failed else 1,
    }


def _text(value: Any) -> str:
    return str(value or "")


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        found = {n: _without_empty(v) if n != "details" else v for n, v in value.items()}
        return {n: v for n, v in found.items() if v not in ("", {}, [])}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value
