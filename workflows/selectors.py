"""Reads of environments and of the mapping. All need the tenant's scope."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q

from core import clock
from core.declarations import AcceptedDifference
from core.errors import NotFound
from core.paging import Page, by_name

from . import matrix_list
from .accepted import accepted, in_words
from .executions.notes import RunNote
from .matrix_list import SHOWN
from .models import CanonicalWorkflow, ConnectionStatus, Environment, MapStatus, WorkflowEnvMap

STALE_AFTER = timedelta(hours=24)
ROWS_AT_MOST = 100
HERE = (MapStatus.LINKED, MapStatus.UNMAPPED)
#: Not as approved, in the same sense as what drift detection finds: changed, switched, or never approved at all.
DRIFTED = Q(status__in=HERE) & (
    (Q(git_content_hash__isnull=False) & ~Q(git_content_hash=F("env_content_hash")))
    | (Q(git_active__isnull=False, env_active__isnull=False) & ~Q(git_active=F("env_active")))
    | (Q(git_content_hash__isnull=True, env_content_hash__isnull=False) & ~Q(environment__baseline_commit_sha=""))
)


def environments(*, archived: bool = False) -> list[Environment]:
    """The environments in the order of the pipeline."""
    return list(Environment.objects.filter(is_archived=archived).order_by("position", "name", "pk"))


def environment_or_404(pk: uuid.UUID) -> Environment:
    """One environment, or ``NotFound``."""
    environment = Environment.objects.filter(pk=pk).first()
    if environment is None:
        raise NotFound
    return environment


def why_unknown(environment: Environment, now: datetime | None = None) -> str:
    """Why the state of an environment is unknown, as a clause; empty where it is known."""
    if environment.last_captured_at is None:
        return "it has never been captured"
    if environment.last_capture_error:
        return "its last capture failed"
    if environment.connection_status == ConnectionStatus.FAILED:
        return "it cannot be reached"
    if (now or clock.now()) - environment.last_captured_at > STALE_AFTER:
        return "it has not been captured for a day"
    return ""


def _conditions() -> dict[str, Q]:
    """What is counted of an environment and listed of it, by name. One query."""
    is_accepted = Q(pk__in=list(accepted()))
    return {
        "workflows": Q(status__in=HERE),
        "drifted": DRIFTED & ~is_accepted,
        "accepted": is_accepted,
        "missing": Q(status=MapStatus.MISSING) & ~is_accepted,
        "unmapped": Q(status=MapStatus.UNMAPPED),
        "ignored": Q(status=MapStatus.IGNORED),
        "inactive": Q(status__in=HERE, env_active=False),
    }


def environment_counts() -> dict[uuid.UUID, dict[str, int]]:
    """Per environment: ``workflows, drifted, accepted, missing, unmapped, ignored, inactive``. Two queries."""
    counts = {name: Count("pk", filter=condition) for name, condition in _conditions().items()}
    rows: Any = WorkflowEnvMap.objects.values("environment_id").annotate(**counts)
    return {row["environment_id"]: {name: n for name, n in row.items() if name != "environment_id"} for row in rows}


@dataclass(frozen=True, slots=True)
class Cell:
    """A workflow in one environment, as the matrix draws it. ``state`` is a word of the vocabulary; '' is not there."""

    environment: Environment
    state: str = ""
    why: str = ""
    mapping: WorkflowEnvMap | None = None
    previous: Environment | None = None
    notes: tuple[str, ...] = ()
    runs: RunNote | None = None

    @property
    def editor_url(self) -> str:
        """Where n8n's editor shows the workflow; '' where it is not there."""
        is_there = self.mapping is not None and self.mapping.status != MapStatus.MISSING
        return self.environment.editor_url(self.mapping.env_workflow_id) if self.mapping and is_there else ""

    @property
    def switch(self) -> str:
        """Whether n8n starts it by itself, in n8n's words; '' where it is not there or n8n did not say."""
        if self.mapping is None or self.mapping.status not in HERE:
            return ""
        if self.mapping.is_archived:
            return "Archived"
        if self.mapping.env_active is None:
            return ""
        return "Published" if self.mapping.env_active else "Not published"

    @property
    def checked_at(self) -> datetime | None:
        """When it was last looked at: every capture and check of an environment looks at all of it."""
        return self.environment.last_captured_at if self.mapping else None

    @property
    def query(self) -> str:
        """The two sides worth comparing, as the diff page's query; '' where there is only one."""
        here = self.environment.seen_version
        if self.mapping is None:
            return ""
        changed = self.mapping.status in HERE and (self.mapping.is_drifted or self.mapping.is_switched)
        if self.mapping.status == MapStatus.MISSING or changed:
            return f"?left={self.environment.approved_version}&right={here}"
        return f"?left={self.previous.seen_version}&right={here}" if self.previous else ""

    @property
    def changed_at(self) -> datetime | None:
        """When this version was made."""
        return self.mapping.content_changed_at if self.mapping else None


@dataclass(frozen=True, slots=True)
class Row:
    """A workflow with a cell for each column."""

    workflow: CanonicalWorkflow
    cells: list[Cell]

    @property
    def tags(self) -> list[str]:
        """Its tags in n8n, wherever it has them, by name."""
        places = (cell.mapping for cell in self.cells if cell.mapping is not None)
        return sorted({tag for place in places if place.status in SHOWN for tag in place.env_tags})


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under one title."""

    title: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Matrix:
    """One page of the matrix."""

    columns: list[Environment]
    rows: list[Row]
    next_cursor: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)

    def groups(self, group: str) -> list[Group]:
        """The rows under the tag that each stands at, in the order they came; one group without a title else."""
        titled = [("" if group != "tag" else row.tags[0] if row.tags else "Without a tag", row) for row in self.rows]
        return [Group(title, [row for _, row in rows]) for title, rows in groupby(titled, key=itemgetter(0))]


def matrix(asked: matrix_list.Asked = matrix_list.ALL, *, cursor: str = "", limit: int = 50) -> Matrix:
    """A page of the workflows asked for, with their state in each environment, at most 100.

    Six queries, one more with a filter by state.
    """
    columns = environments()
    left = accepted()
    extent = matrix_list.Extent([environment.pk for environment in columns], list(left))
    page = matrix_list.page(asked, extent, cursor=cursor, limit=min(limit, ROWS_AT_MOST))
    rows = rows_of(page.rows, columns, left)
    tags = matrix_list.tag_counts(extent.environment_ids)
    return Matrix(columns, rows, page.next_cursor, matrix_list.state_counts(extent), tags)


def rows_of(
    workflows: list[CanonicalWorkflow], columns: list[Environment], left: Mapping[uuid.UUID, AcceptedDifference]
) -> list[Row]:
    """The rows of some workflows; ``left`` is what people have accepted. One query."""
    mappings: dict[uuid.UUID, dict[uuid.UUID, WorkflowEnvMap]] = defaultdict(dict)
    found = WorkflowEnvMap.objects.filter(
        canonical_workflow_id__in=[w.pk for w in workflows], status__in=[*SHOWN, MapStatus.IGNORED]
    ).defer("fingerprint", "git_fingerprint")
    for mapping in found:
        mappings[mapping.canonical_workflow_id][mapping.environment_id] = mapping
    now = clock.now()
    unknown = {environment.pk: why_unknown(environment, now) for environment in columns}
    return [Row(workflow, cells(columns, mappings[workflow.pk], unknown, left)) for workflow in workflows]


_Previous = tuple[Environment, WorkflowEnvMap] | None
"""The nearest environment before, in the pipeline's order, that has the workflow."""


def cells(
    columns: list[Environment],
    mappings: dict[uuid.UUID, WorkflowEnvMap],
    unknown: dict[uuid.UUID, str],
    left: Mapping[uuid.UUID, AcceptedDifference],
) -> list[Cell]:
    """The cells of one workflow. Each is compared with the nearest environment before it that has the workflow."""
    drawn: list[Cell] = []
    previous: _Previous = None
    for environment in columns:
        mapping = mappings.get(environment.pk)
        drawn.append(_cell(environment, mapping, previous, unknown[environment.pk], left))
        if mapping is not None and mapping.status in HERE:
            previous = (environment, mapping)
    return drawn


def _cell(
    environment: Environment,
    mapping: WorkflowEnvMap | None,
    previous: _Previous,
    unknown: str,
    left: Mapping[uuid.UUID, AcceptedDifference],
) -> Cell:
    before = previous[0] if previous else None
    if mapping is None:
        state, why = ("unknown", unknown) if unknown else ("", "not there")
        return Cell(environment, state, why, None, before)
    if mapping.status == MapStatus.IGNORED:
        return Cell(environment, "ignored", "left out on purpose", mapping, before)
    state, why = _known_state(environment, mapping, previous)
    if state in ("drifted", "missing") and mapping.pk in left:
        state, why = "accepted", f"{why}; {in_words(left[mapping.pk])}"
    notes = _notes(mapping)
    if unknown:
        state, why = "unknown", f"{unknown}; was {why} when last seen"
    return Cell(environment, state, why, mapping, before, notes)


def _notes(mapping: WorkflowEnvMap) -> tuple[str, ...]:
    """What is worth knowing beside the state and the switch."""
    notes = {"not confirmed": mapping.status == MapStatus.UNMAPPED, "draft saved": mapping.has_draft}
    return tuple(note for note, holds in notes.items() if holds)


def _known_state(environment: Environment, mapping: WorkflowEnvMap, previous: _Previous) -> tuple[str, str]:
    """The state and why, by what was last seen: the first that holds."""
    if mapping.status == MapStatus.MISSING:
        return "missing", "approved, but gone"
    drift = _drift_of(environment, mapping)
    if drift:
        return "drifted", drift
    if previous and mapping.comparable_hash != previous[1].comparable_hash:
        return "differs", f"another version than {previous[0].name}"
    return "in_sync", "as approved"


def _drift_of(environment: Environment, mapping: WorkflowEnvMap) -> str:
    """In what way it is not as approved; '' where it is, or nothing was approved yet."""
    if mapping.is_drifted:
        return "changed since it was approved"
    if mapping.is_switched:
        return f"{'published' if mapping.env_active else 'unpublished'} since it was approved"
    if mapping.git_content_hash is None and mapping.env_content_hash and environment.baseline_commit_sha:
        return "appeared; nobody approved it"
    return ""


def workflow_or_404(key: str) -> CanonicalWorkflow:
    """One workflow by its key, or ``NotFound``."""
    workflow = CanonicalWorkflow.objects.filter(key=key).first()
    if workflow is None:
        raise NotFound
    return workflow


def mapping_page(*, environment: Environment, status: str = "", q: str = "", cursor: str = "", limit: int = 50) -> Page:
    """The mapping of an environment, by name; with ``status``, or a name in ``environment_counts``, only those."""
    rows = WorkflowEnvMap.objects.filter(environment=environment).select_related("canonical_workflow", "environment")
    rows = rows.defer("fingerprint", "git_fingerprint")
    if (condition := _conditions().get(status)) is not None:
        rows = rows.filter(condition)
    elif status in MapStatus.values:
        rows = rows.filter(status=status)
    else:
        rows = rows.exclude(status=MapStatus.DELETED)
    if q.strip():
        rows = rows.filter(Q(env_name__icontains=q.strip()) | Q(canonical_workflow__key__icontains=q.strip()))
    return by_name(rows, cursor=cursor, limit=limit, field="env_name")


def candidates_for(mappings: list[WorkflowEnvMap], *, limit_each: int = 8) -> dict[uuid.UUID, list[CanonicalWorkflow]]:
    """For each mapping of one environment the workflows of the same name that have none there. One query."""
    names = {mapping.env_name.strip().casefold() for mapping in mappings if mapping.env_name.strip()}
    if not names:
        return {}
    environment_id = mappings[0].environment_id
    alike = Q()
    for name in names:
        alike |= Q(name__iexact=name)
    occupied = WorkflowEnvMap.objects.filter(
        environment_id=environment_id,
        canonical_workflow_id=OuterRef("pk"),
        status__in=[MapStatus.LINKED, MapStatus.IGNORED, MapStatus.UNMAPPED],
    )
    found = list(CanonicalWorkflow.objects.filter(alike).exclude(Exists(occupied)).order_by("name", "key")[:500])
    offered: dict[uuid.UUID, list[CanonicalWorkflow]] = {}
    for mapping in mappings:
        name = mapping.env_name.strip().casefold()
        same = [w for w in found if w.name.strip().casefold() == name]
        offered[mapping.pk] = same[:limit_each]
    return offered


def workflow_row(mapping: WorkflowEnvMap, left: AcceptedDifference | None) -> dict[str, Any]:
    """The fields of ``schemas.StoredWorkflow``; ``left`` where its difference was accepted."""
    return {
        "id": mapping.env_workflow_id,
        "key": mapping.canonical_workflow.key,
        "name": mapping.env_name,
        "active": mapping.env_active,
        "status": mapping.status,
        "content_hash": mapping.env_content_hash,
        "git_content_hash": mapping.git_content_hash,
        "drifted": mapping.is_drifted and left is None,
        "accepted_since": left.since if left else None,
        "node_count": mapping.node_count,
        "tags": mapping.env_tags,
        "archived": mapping.is_archived,
        "draft": mapping.has_draft,
        "live_version": mapping.live_version,
        "draft_authors": mapping.draft_authors or None,
        "updated_at": mapping.content_changed_at,
        "last_seen_at": mapping.seen_at,
    }
