"""The trail by acts: what a request and the jobs that it started, a scheduled job or a transaction left, as one thing.

An act stands where its newest entry stands. What is read for a page is bounded, however many entries an act has: the
search goes on past those of acts that it has found already. Where it has read its fill, the next page goes on.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from django.db.models import Q, QuerySet

from core.paging import Page, decode, encode, of_another_list
from core.registry import registry

from .models import AuditLog, LogEntry
from .selectors import TrailFilter, filtered

#: How many entries are read at a time, and how often, until a page has its acts.
LOOK, LOOKS = 400, 24
#: So many entries of an act are read, the oldest first; of more it is said that there are more.
ENTRIES_READ = 120
#: And so many of the newest then, which know how it ended.
NEWEST_READ = 20


@dataclass(frozen=True, slots=True, order=True)
class ActKey:
    """What holds an act together: ``by`` is request, operation or transaction (its value: epoch and number)."""

    by: str
    value: str

    @classmethod
    def of(cls, request: str, operation: uuid.UUID | None, epoch: int, transaction: int) -> ActKey:
        """A job carries the request that it was started by, so both are one act."""
        if request:
            return cls("request", request)
        return cls("operation", str(operation)) if operation else cls("transaction", f"{epoch}:{transaction}")


@dataclass(slots=True)
class Act:
    """An act and where it stands; ``entries`` are its oldest, ``latest`` of one with more its newest; no details."""

    key: ActKey
    at: datetime
    newest: int
    entries: list[AuditLog] = field(default_factory=list)
    latest: list[AuditLog] = field(default_factory=list)

    @property
    def has_more(self) -> bool:
        return len(self.entries) > ENTRIES_READ

    @property
    def known(self) -> list[AuditLog]:
        """All that was read of it, each entry once, the oldest first."""
        found = {entry.pk: entry for entry in (*self.entries, *self.latest)}
        return sorted(found.values(), key=lambda entry: (entry.created_at, entry.pk))


_KEY = ("request_id", "operation_id", "epoch", "transaction_id")
_Cursor = tuple[datetime, int] | None


def list_acts(wanted: TrailFilter, *, cursor: str = "", limit: int = 50) -> Page:
    """Acts with an entry that matches, newest first. A page may hold few, or none, and yet lead on to older ones."""
    found, reached = _find(filtered(wanted), cursor=_position(cursor), limit=limit + 1)
    acts = found[:limit]
    _read_entries(acts)
    if len(found) > limit:
        reached = acts[-1].at, acts[-1].newest
    return Page(acts, encode([reached[0].isoformat(), reached[1]]) if reached else "")


def _position(cursor: str) -> _Cursor:
    if not cursor:
        return None
    moment, last_id = decode(cursor, 2)
    with of_another_list():
        return datetime.fromisoformat(str(moment)), int(last_id)


def _find(rows: QuerySet[AuditLog], *, cursor: _Cursor, limit: int) -> tuple[list[Act], _Cursor]:
    """Acts, and how far it was looked where older entries were left unread before ``limit`` was found."""
    older = _older(rows, cursor)
    found: dict[ActKey, Act] = {}
    told: set[ActKey] = set()
    for _ in range(LOOKS):
        rest = _without(older, told | found.keys())
        heads = list(rest.order_by("-created_at", "-pk").values_list("created_at", "pk", *_KEY)[:LOOK])
        fresh = _by_key(heads)
        already = _on_pages_before(rows, fresh.keys(), cursor)
        told |= already
        found |= {key: act for key, act in fresh.items() if key not in already}
        if len(found) >= limit or len(heads) < LOOK:
            return list(found.values())[:limit], None
    return list(found.values()), (heads[-1][0], heads[-1][1])


def _older(rows: QuerySet[AuditLog], cursor: _Cursor) -> QuerySet[AuditLog]:
    if cursor is None:
        return rows
    when, pk = cursor
    return rows.filter(created_at__lte=when).filter(Q(created_at__lt=when) | Q(pk__lt=pk))


def _by_key(heads: Iterable[Any]) -> dict[ActKey, Act]:
    """Each act at the first, newest, of its entries."""
    found: dict[ActKey, Act] = {}
    for at, pk, *key in heads:
        found.setdefault(ActKey.of(*key), Act(ActKey.of(*key), at, pk))
    return found


def _without(rows: QuerySet[AuditLog], keys: Collection[ActKey]) -> QuerySet[AuditLog]:
    """The entries of other acts."""
    for by, values in _values(keys).items():
        rows = rows.exclude(_belong_to(by, values))
    return rows


def _values(keys: Iterable[ActKey]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        found[key.by].append(key.value)
    return found


def _belong_to(by: str, values: list[str]) -> Q:
    if by == "request":
        return Q(request_id__in=values)
    if by == "operation":
        return Q(request_id="", operation_id__in=values)
    return Q(request_id="", operation_id__isnull=True) & _of_transactions(values)


def _of_transactions(values: list[str]) -> Q:
    by_epoch: dict[str, list[str]] = defaultdict(list)
    for value in values:
        epoch, _, number = value.partition(":")
        by_epoch[epoch].append(number)
    found = Q(pk__in=())
    for epoch, numbers in by_epoch.items():
        found |= Q(epoch=int(epoch), transaction_id__in=numbers)
    return found


def _on_pages_before(rows: QuerySet[AuditLog], keys: Collection[ActKey], cursor: _Cursor) -> set[ActKey]:
    """Acts that have a newer entry which matches, and so stand on an earlier page."""
    if cursor is None:
        return set()
    when, pk = cursor
    newer = rows.filter(created_at__gte=when).filter(Q(created_at__gt=when) | Q(pk__gte=pk))
    found: set[ActKey] = set()
    for by, values in _values(keys).items():
        asked = newer.filter(_belong_to(by, values))
        if by == "transaction":  # the view has no index for it
            asked = asked.filter(pk__in=LogEntry.objects.filter(_of_transactions(values)).values("pk"))
        found |= {ActKey.of(*key) for key in asked.order_by().values_list(*_KEY).distinct()}
    return found


_ENTRIES_SQL = """
SELECT k.value AS act, e.*
  FROM unnest(%s::text[]) AS k(value)
 CROSS JOIN LATERAL (
    SELECT l.id, l.timestamp AS created_at, l.action_name AS action, l.resource_type, l.resource_id, l.object_repr,
           l.tenant_id, l.actor_id AS actor_user_id,
           (SELECT l.details->'new_value'->>c.name FROM unnest(%s::text[], %s::text[]) AS c(of_table, name)
             WHERE c.of_table = l.resource_type) AS became
      FROM audit_logentry l WHERE {of} ORDER BY l.timestamp {order}, l.id {order} LIMIT %s) e
"""
_ENTRIES_OF = {
    "request": "l.cid = k.value AND l.cid <> ''",
    "operation": "l.operation_id = k.value::uuid AND l.cid = ''",
    "transaction": (
        "l.epoch = split_part(k.value, ':', 1)::int AND l.transaction_id = split_part(k.value, ':', 2)::xid8"
        " AND l.cid = '' AND l.operation_id IS NULL"
    ),
}


def _read_entries(acts: list[Act]) -> None:
    """Give each act its oldest entries, and one that has more of them its newest."""
    for act, entry in _entries(acts, order="ASC", most=ENTRIES_READ + 1):
        act.entries.append(entry)
    for act, entry in _entries([act for act in acts if act.has_more], order="DESC", most=NEWEST_READ):
        act.latest.append(entry)


def _entries(acts: list[Act], *, order: str, most: int) -> Iterator[tuple[Act, AuditLog]]:
    """Entries from an end of each act. One statement for each way in which acts are held together."""
    by_key = {act.key: act for act in acts}
    columns = {words.table: words.column for _, words in registry.every("act_words") if words.status}
    for by, values in _values(by_key).items():
        asked = [values, list(columns), list(columns.values()), most]
        for entry in AuditLog.objects.raw(_ENTRIES_SQL.format(of=_ENTRIES_OF[by], order=order), asked):
            yield by_key[ActKey(by, cast(Any, entry).act)], entry
