"""The list of a tenant's workflows: which of them are asked for, in what order, and how many are in each state.

The states are those that cells show (``selectors.cells``), said in SQL. All need the tenant's scope.
"""

# ruff: noqa: S608 -- queries are put together from this module's constants

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from core import clock
from core.paging import BadCursor, Page, by_name, decode, of_another_list, paged

from .executions import counting
from .models import CanonicalWorkflow, MapStatus, WorkflowEnvMap

SHOWN = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.MISSING)
STATES = ("drifted", "accepted", "failing", "differs", "missing", "inactive", "draft", "archived", "unmapped")
ORDERS = {
    "name": "By name",
    "-name": "By name, Z to A",
    "changed": "Last changed first",
    "trouble": "Worst first",
}
TAGS_AT_MOST = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the list: a word in the name or key, a state, a tag, what it uses; its order and grouping.

    What is not known is as if it were not asked. ``group``: ``tag`` or ''.
    """

    q: str = ""
    state: str = ""
    tag: str = ""
    uses: Q | None = None
    order: str = "name"
    group: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str], uses: Q | None = None) -> Asked:
        """From an address: ``q, state, tag, sort, group``."""
        state, order, group = query.get("state", ""), query.get("sort", ""), query.get("group", "")
        return cls(
            q=query.get("q", "")[:200].strip(),
            state=state if state in STATES else "",
            tag=query.get("tag", "")[:120],
            uses=uses,
            order=order if order in ORDERS else "name",
            group=group if group == "tag" else "",
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether less than everything is asked for."""
        return bool(self.q or self.state or self.tag or self.uses is not None)


ALL = Asked()


@dataclass(frozen=True, slots=True)
class Extent:
    """The environments that are shown, in their order, and the mappings whose difference people have accepted."""

    environment_ids: list[uuid.UUID]
    accepted: list[uuid.UUID] = field(default_factory=list)


_PLACES = (
    "SELECT id = ANY(%s::uuid[]) AS is_accepted, canonical_workflow_id, status, env_active, git_active,"
    " git_content_hash, env_content_hash, comparable_hash,"
    " env_draft_hash, env_facts, env_tags, content_changed_at,"
    " environment_id IN (SELECT id FROM environments WHERE baseline_commit_sha <> '') AS has_baseline,"
    f" (environment_id, env_workflow_id) IN ({counting.FAILED_SINCE}) AS has_failed,"
    " lag(comparable_hash) OVER (PARTITION BY canonical_workflow_id, status IN ('linked', 'unmapped')"
    "   ORDER BY array_position(%s::uuid[], environment_id)) AS before"
    " FROM workflow_env_map WHERE environment_id = ANY(%s) AND status IN ('linked', 'unmapped', 'missing')"
)
_STATE_SQL = {
    "drifted": (
        "NOT is_accepted AND status <> 'missing' AND (git_content_hash <> env_content_hash OR git_active <> env_active"
        " OR (git_content_hash IS NULL AND env_content_hash IS NOT NULL AND has_baseline))"
    ),
    "accepted": "is_accepted",
    "failing": "has_failed",
    "differs": "status <> 'missing' AND before <> comparable_hash",
    "missing": "status = 'missing' AND NOT is_accepted",
    "inactive": "status <> 'missing' AND NOT env_active",
    "draft": "status <> 'missing' AND env_draft_hash <> ''",
    "archived": "status <> 'missing' AND env_facts->>'archived' = 'true'",
    "unmapped": "status = 'unmapped'",
}
_WORST = ("failing", "missing", "drifted", "differs", "draft")
_TROUBLE = " ".join(f"WHEN {_STATE_SQL[state]} THEN {rank}" for rank, state in enumerate(_WORST))
#: What a workflow is put in order by, over all its places; the first is the smallest.
_RANKS = {
    "changed": "-coalesce(extract(epoch FROM max(content_changed_at)), 0)::float8",
    "trouble": f"min(CASE {_TROUBLE} ELSE {len(_WORST)} END)",
}
#: As Python orders them, so that a page's groups are those of its order.
_FIRST_TAG = """min((SELECT min(tag COLLATE "C") FROM unnest(env_tags) AS tag))"""


def page(asked: Asked, extent: Extent, *, cursor: str = "", limit: int = 50) -> Page:
    """The workflows asked for, in their order. One query."""
    found = _narrowed(asked, extent)
    if asked.order == "name" and not asked.group:
        return by_name(found, cursor=cursor, limit=limit)
    columns = _columns(asked)
    order = ", ".join(f"{column} {direction}" for column, direction in columns)
    place = ", ".join(f"({column})::text" for column, _ in columns)
    wanted, wanted_params = found.values("pk").order_by().query.sql_with_params()
    after, after_params = _after(columns, cursor)
    rows = CanonicalWorkflow.objects.raw(
        f"SELECT w.*, ARRAY[{place}] AS place FROM canonical_workflows w"
        f" JOIN (SELECT canonical_workflow_id, {_FIRST_TAG} AS tag, {_RANKS.get(asked.order, '0')} AS rank"
        f" FROM ({_PLACES}) p GROUP BY 1) s ON s.canonical_workflow_id = w.id"
        f" WHERE w.id IN ({wanted}){after} ORDER BY {order} LIMIT %s",
        [*_params(extent), *wanted_params, *after_params, limit + 1],
    )
    with of_another_list():
        return paged(list(rows), limit, lambda row: row.place)


def _narrowed(asked: Asked, extent: Extent) -> QuerySet[CanonicalWorkflow]:
    shown = WorkflowEnvMap.objects.filter(
        canonical_workflow=OuterRef("pk"), status__in=SHOWN, environment_id__in=extent.environment_ids
    )
    if asked.uses is not None:
        shown = shown.filter(asked.uses)
    if asked.tag:
        shown = shown.filter(env_tags__contains=[asked.tag])
    found = CanonicalWorkflow.objects.filter(Exists(shown))
    if asked.q:
        found = found.filter(Q(name__icontains=asked.q) | Q(key__icontains=asked.q))
    if asked.state:
        found = found.filter(pk__in=_in_state(asked.state, extent))
    return found


def _columns(asked: Asked) -> list[tuple[str, str]]:
    """What the list is in the order of, and in which direction; what has no tag stands last."""
    by_tag = [("(tag IS NULL)", "ASC"), ("coalesce(tag, '')", "ASC")] if asked.group else []
    by_rank = [("rank", "ASC")] if asked.order in _RANKS else []
    direction = "DESC" if asked.order == "-name" else "ASC"
    return [*by_tag, *by_rank, ("w.name", direction), ("w.id", "ASC")]


def _after(columns: Sequence[tuple[str, str]], cursor: str) -> tuple[str, list[str]]:
    """The condition of what comes after a cursor, and its values."""
    if not cursor:
        return "", []
    values = decode(cursor, len(columns))
    if not all(isinstance(value, str) for value in values):
        raise BadCursor
    either, params = [], []
    for at, (column, direction) in enumerate(columns):
        same = "".join(f"{before} = {_typed(before)} AND " for before, _ in columns[:at])
        either.append(f"({same}{column} {'>' if direction == 'ASC' else '<'} {_typed(column)})")
        params += values[: at + 1]
    return f" AND ({' OR '.join(either)})", params


def _typed(column: str) -> str:
    return {"(tag IS NULL)": "%s::boolean", "rank": "%s::float8", "w.id": "%s::uuid"}.get(column, "%s")


def _params(extent: Extent) -> list[Any]:
    environment_ids = extent.environment_ids
    return [extent.accepted, environment_ids, clock.now() - counting.DAY, environment_ids, environment_ids]


def _in_state(state: str, extent: Extent) -> list[uuid.UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT canonical_workflow_id FROM ({_PLACES}) p WHERE {_STATE_SQL[state]}",
            _params(extent),
        )
        return [row[0] for row in cursor.fetchall()]


def state_counts(extent: Extent) -> dict[str, int]:
    """How many workflows are in each state somewhere, and ``all``. One pass over the mapping."""
    counted = ", ".join(
        f"count(DISTINCT canonical_workflow_id) FILTER (WHERE {condition})" for condition in _STATE_SQL.values()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(DISTINCT canonical_workflow_id), {counted} FROM ({_PLACES}) p",
            _params(extent),
        )
        row = cursor.fetchone()
    return dict(zip(["all", *_STATE_SQL], row, strict=True))


def tag_counts(environment_ids: list[uuid.UUID]) -> dict[str, int]:
    """The tags in n8n of what is shown, by name, and how many workflows have each; at most 200."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tag, count(DISTINCT canonical_workflow_id) FROM workflow_env_map, unnest(env_tags) AS tag"
            " WHERE environment_id = ANY(%s) AND status IN ('linked', 'unmapped', 'missing')"
            " GROUP BY tag ORDER BY tag LIMIT %s",
            [environment_ids, TAGS_AT_MOST],
        )
        return {str(tag): int(count) for tag, count in cursor.fetchall()}
