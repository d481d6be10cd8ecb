"""What a session wrote by itself, row by row, folded from the trail: before its first write and after its last.

What its jobs wrote is not here: a job is reverted as a whole (``jobs``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from django.db import connection

from audit.models import AuditLog
from audit.selectors import people_of
from core.registry import registry
from impersonation import selectors
from impersonation.models import ImpersonationSession

ENTRIES = 5000
ABSENT = "–"


@dataclass(slots=True)
class Change:
    """All that a session did to one row. ``before`` None: it was not there; ``after`` None: the session deleted it."""

    table: str
    pk: str
    name: str = ""
    before: dict[str, Any] | None = field(default_factory=dict)
    after: dict[str, Any] | None = field(default_factory=dict)
    last_entry: int = 0
    at: str = ""

    @property
    def created(self) -> bool:
        return self.before is None

    @property
    def deleted(self) -> bool:
        return self.after is None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def take(self, entry: AuditLog) -> None:
        """Fold one more entry in, the oldest first."""
        old = entry.details.get("previous_value") or {}
        new = entry.details.get("new_value") or {}
        if entry.action == "CREATE":
            self.before, self.after = (None if not self.last_entry else self.before), dict(new)
        elif entry.action == "DELETE":
            self.before = None if self.before is None else {**old, **self.before}
            self.after = None
        else:
            self.before = None if self.before is None else {**old, **self.before}
            self.after = {**(self.after or {}), **new}
        self.name = entry.object_repr or self.name
        self.last_entry, self.at = entry.pk, entry.created_at.isoformat()


def changes_of(session: ImpersonationSession) -> tuple[list[Change], bool]:
    """Each row that the session wrote, and whether there were too many entries to read. Needs the tenant's scope."""
    rows = selectors.trail_of(session).filter(action__in=selectors.WRITES, operation_id=None)
    entries = list(rows.exclude(resource_type__in=registry.bookkeeping_tables()).order_by("pk")[: ENTRIES + 1])
    found: dict[tuple[str, str], Change] = {}
    for entry in entries[:ENTRIES]:
        key = (entry.resource_type, entry.object_pk)
        found.setdefault(key, Change(*key)).take(entry)
    kept = [change for change in found.values() if not (change.created and change.deleted)]
    return kept, len(entries) > ENTRIES


def rows_now(
    table: str, keys: Iterable[str], *, lock: bool = False, without: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Rows as they are, by key, in the trail's own form, ``without`` some columns. Needs the tenant's scope.

    ``table`` and ``without`` are constants.
    """
    wanted = "to_jsonb(t)" + "".join(f" - '{name}'" for name in without)
    query = f"SELECT t.id::text, {wanted} FROM {table} t WHERE t.id = ANY(%s::uuid[])"  # noqa: S608 -- constants
    with connection.cursor() as cursor:
        cursor.execute(query + (" FOR UPDATE" if lock else ""), [list(keys)])
        return {pk: _json(row) for pk, row in cursor.fetchall()}


def _json(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(value) if isinstance(value, str | bytes) else value
    return found


def last_writer(change: Change) -> str:
    """Who wrote the row after the session: their address, or ''. Needs the tenant's scope."""
    rows = AuditLog.objects.filter(
        resource_type=change.table, resource_id=change.pk, pk__gt=change.last_entry, action__in=selectors.WRITES
    )
    entry = rows.order_by("-pk").first()
    if entry is None:
        return ""
    person = people_of([entry]).get(entry.actor_user_id) if entry.actor_user_id else None
    return person.email if person else {"sql": "SQL by hand", "task": "a job"}.get(entry.source, "the console itself")


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None, columns: Iterable[str]) -> bool:
    """Whether both rows agree in the columns; a row that is not there agrees only with one that is not there."""
    if one is None or other is None:
        return one is None and other is None
    return all(one.get(column) == other.get(column) for column in columns)


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:120]
