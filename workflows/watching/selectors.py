"""Reads of watched starters. All need the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from workflows.executions.statuses import FAILED
from workflows.models import Environment, StarterKind, StarterWatch, Telling, WatchState

from .telling import in_n8n

SHOWN = 100
#: The most serious first.
_ORDER = (WatchState.BAD, WatchState.GIVEN_UP, WatchState.WATCHED, WatchState.PROVEN, WatchState.SUPERSEDED)
_MARKS = {
    WatchState.WATCHED: ("pending", "Not proven yet"),
    WatchState.PROVEN: ("ok", "Proven"),
    WatchState.BAD: ("failed", "Does not start"),
    WatchState.GIVEN_UP: ("unknown", "Never seen to run"),
    WatchState.SUPERSEDED: ("inactive", "No longer watched"),
}
_NOTIFICATIONS = {
    Telling.WAITING: "A mail about it is about to be sent.",
    Telling.SENDING: "A mail about it is being sent.",
    Telling.FAILED: "The mail about it could not be sent.",
    Telling.UNKNOWN: "Whether the mail about it was sent is not known.",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One starter in a list."""

    watch: StarterWatch
    url: str

    @property
    def mark(self) -> str:
        if self.runs_badly:
            return "warning"
        return "failed" if self.needs_a_person else _MARKS[WatchState(self.watch.state)][0]

    @property
    def word(self) -> str:
        return "Starts, and fails" if self.runs_badly else _MARKS[WatchState(self.watch.state)][1]

    @property
    def runs_badly(self) -> bool:
        """Whether it starts, and the run that proved it failed."""
        return self.watch.state == WatchState.PROVEN and self.watch.run_status in FAILED

    @property
    def needs_a_person(self) -> bool:
        """Whether it is bad: it does not start, or was never seen to run though it should have."""
        silent = self.watch.state == WatchState.GIVEN_UP and self.watch.due_at is not None
        return silent or self.watch.state == WatchState.BAD

    @property
    def notification(self) -> str:
        """What became of the mail about it; '' where none is sent."""
        before = _NOTIFICATIONS.get(Telling(self.watch.telling), "")
        return f"{before} {self.watch.told_note}".strip()

    @property
    def is_unsent(self) -> bool:
        """Whether the mail about it failed, or may have."""
        return self.watch.telling in (Telling.FAILED, Telling.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Watched:
    """Watched starters for a page, the most serious first."""

    lines: list[Line] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether something may still change by itself."""
        moving = (Telling.WAITING, Telling.SENDING)
        return any(line.watch.state == WatchState.WATCHED or line.watch.telling in moving for line in self.lines)

    @property
    def bad(self) -> list[Line]:
        return [line for line in self.lines if line.needs_a_person]

    def __bool__(self) -> bool:
        return bool(self.lines)


def of_operations(operation_ids: Collection[uuid.UUID]) -> Watched:
    """The starters that these jobs have published."""
    rows = StarterWatch.objects.filter(operation_id__in=operation_ids)
    return _shown(rows.select_related("environment").order_by("-since", "workflow_name", "node")[:SHOWN])


def of_environment(environment: Environment) -> Watched:
    """Those of an environment that are still watched or do not start."""
    silent = Q(state=WatchState.GIVEN_UP, due_at__isnull=False)
    rows = StarterWatch.objects.filter(
        silent | Q(state__in=(WatchState.WATCHED, WatchState.BAD)), environment_id=environment.pk
    )
    return _shown(_newest(rows.select_related("environment")[: SHOWN * 5])[:SHOWN])


def of_workflow(locations: Sequence[tuple[uuid.UUID, str]]) -> Watched:
    """The last publishing of a workflow in each location (environment, n8n's id there)."""
    if not locations:
        return Watched()
    wanted = {workflow_id for _environment, workflow_id in locations}
    rows = StarterWatch.objects.filter(
        environment_id__in=[environment for environment, _workflow_id in locations], env_workflow_id__in=wanted
    ).exclude(state=WatchState.SUPERSEDED)
    found = _newest(rows.select_related("environment").order_by("-since")[: SHOWN * 5])
    return _shown([row for row in found if (row.environment_id, row.env_workflow_id) in set(locations)][:SHOWN])


def _newest(rows: Iterable[StarterWatch]) -> list[StarterWatch]:
    """Of each workflow only what the last job has published."""
    last: dict[tuple[uuid.UUID, str], StarterWatch] = {}
    found = sorted(rows, key=lambda row: row.since, reverse=True)
    for row in found:
        last.setdefault((row.environment_id, row.env_workflow_id), row)
    return [row for row in found if row.operation_id == last[row.environment_id, row.env_workflow_id].operation_id]


def _shown(rows: Iterable[StarterWatch]) -> Watched:
    lines = [Line(row, in_n8n(row.environment, row)) for row in rows]
    return Watched(sorted(lines, key=lambda line: _ORDER.index(WatchState(line.watch.state))))


# -- rows for programs ------------------------------------------------------------------------------------------------


def not_proven(operation_id: uuid.UUID) -> list[dict[str, Any]]:
    """The unproven starters that an operation has published, by workflow, for its result."""
    found: dict[str, dict[str, Any]] = {}
    rows = StarterWatch.objects.filter(operation_id=operation_id, state=WatchState.WATCHED)
    for watch in rows.order_by("workflow_name", "workflow_key", "node"):
        blank: dict[str, Any] = {
            "key": watch.workflow_key,
            "name": watch.workflow_name,
            "addresses": [],
            "starters": [],
        }
        entry = found.setdefault(watch.workflow_key, blank)
        if watch.kind == StarterKind.ADDRESS and watch.address:
            entry["addresses"].append(watch.address)
        entry["starters"].append({"node": watch.node, "kind": watch.kind, "why": watch.why})
    return list(found.values())


def watch_row(watch: StarterWatch) -> dict[str, Any]:
    """The fields of ``schemas.WatchedStarter``."""
    return {
        "id": str(watch.pk),
        "environment_id": str(watch.environment_id),
        "operation_id": str(watch.operation_id),
        "workflow_key": watch.workflow_key,
        "workflow_name": watch.workflow_name,
        "workflow_id": watch.env_workflow_id,
        "version_id": watch.version_id or None,
        "node": watch.node,
        "kind": watch.kind,
        "address": watch.address or None,
        "why": watch.why,
        "state": watch.state,
        "note": watch.note or None,
        "since": watch.since,
        "due_at": watch.due_at,
        "deadline": watch.deadline,
        "settled_at": watch.settled_at,
        "execution_id": str(watch.run_number) if watch.run_number is not None else None,
        "execution_status": watch.run_status or None,
        "told": watch.telling or None,
        "told_note": watch.told_note or None,
    }
