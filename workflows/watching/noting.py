"""Records published starters that could not be proven, so that they are watched once the operation has ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Value
from django.db.models.functions import Concat, Left, Trim

from core import clock
from workflows.models import UNSETTLED, Environment, StarterKind, StarterWatch, WatchState

from .starters import Starter, starters_of

if TYPE_CHECKING:
    from operations.engine import Run
    from workflows.writes.items import WriteItem, Written

FIRST_LOOK = timedelta(seconds=15)
#: n8n takes a version over in the background: what begins before that may be the former one's (0.7 to 4.3 s on 2.41.1).
TAKES_OVER = timedelta(seconds=10)
#: How much later than its rule says a run may be seen: it has to begin, and the executions have to be read.
MARGIN = timedelta(minutes=15)
USUAL_WATCH = timedelta(hours=24)

_WHY = {
    StarterKind.SCHEDULE: "A schedule has no address that could be asked about.",
    StarterKind.POLLER: "A poller has no address that could be asked about; it runs only when it finds something new.",
    StarterKind.EVENT: "It is started from outside by an event; n8n cannot be asked about it.",
}
_UNASKED, _VARIES = "Nobody could be asked about its address.", "Its address varies, so nobody can be asked about it."


@dataclass(frozen=True, slots=True)
class Unproven:
    """One starter of one workflow that is not proven to start."""

    key: str
    name: str
    env_workflow_id: str
    version_id: str
    starter: Starter
    is_alone: bool

    @property
    def why(self) -> str:
        if self.starter.kind != StarterKind.ADDRESS:
            return _WHY[self.starter.kind]
        return _UNASKED if self.starter.address else _VARIES


def unproven(items: Mapping[str, WriteItem], results: Mapping[str, Written], *, after: datetime) -> list[Unproven]:
    """The starters of what was published, less those whose address answers."""
    found: list[Unproven] = []
    for key, item in items.items():
        written = results[key]
        if item.content is None or not written.active or written.outcome == "failed":
            continue
        there, asked = written.env_workflow_id, written.listening
        starters = starters_of(item.load(), after=after, workflow_id=there, asked=asked)
        for starter in starters:
            if starter.address and asked.get(starter.address) == "listening":
                continue
            alone = starter.is_alone(starters)
            found.append(Unproven(key, item.name, there, _version_of(written), starter, alone))
    return found


def _version_of(written: Written) -> str:
    return written.live_version_id or written.version_id


def note(run: Run, environment: Environment, published: Iterable[WriteItem], results: Mapping[str, Written]) -> None:
    """Record which published starters are to be watched, and supersede those watched before. May be repeated."""
    now = clock.now()
    items = {item.key: item for item in published}
    found = unproven(items, results, after=now + TAKES_OVER)
    gone = {one.env_workflow_id: "" for one in results.values() if one.was_written and not one.active}
    renewed = {results[key].env_workflow_id: _version_of(results[key]) for key in items}
    if not gone and not renewed:
        return
    with run.fenced():
        _supersede(run.operation.pk, environment.pk, gone | renewed, now)
        if found:
            rows = [_row(one, run.operation.pk, environment, now) for one in found]
            StarterWatch.objects.bulk_create(rows, ignore_conflicts=True)


def _supersede(operation_id: uuid.UUID, environment_id: uuid.UUID, written: Mapping[str, str], now: datetime) -> None:
    """Supersede watches of workflows that have been overwritten, unpublished or deleted."""
    standing = StarterWatch.objects.filter(
        environment_id=environment_id, env_workflow_id__in=written, state__in=UNSETTLED
    )
    ours = [
        pk
        for pk, by, workflow_id, version_id in standing.values_list(
            "pk", "operation_id", "env_workflow_id", "version_id"
        )
        if (by, version_id) == (operation_id, written[workflow_id])  # noted by an earlier attempt
    ]
    note = Left(Trim(Concat("note", Value(" The console has written the workflow again since."))), 500)
    standing.exclude(pk__in=ours).update(state=WatchState.SUPERSEDED, note=note, settled_at=now)


def _row(one: Unproven, operation_id: uuid.UUID, environment: Environment, now: datetime) -> StarterWatch:
    starter = one.starter
    return StarterWatch(
        tenant_id=environment.tenant_id,
        environment_id=environment.pk,
        operation_id=operation_id,
        workflow_key=one.key,
        workflow_name=one.name,
        env_workflow_id=one.env_workflow_id,
        version_id=one.version_id,
        node=starter.node[:300],
        kind=starter.kind,
        address=starter.address[:1000],
        is_alone=one.is_alone,
        why=one.why,
        fault=starter.fault[:300],
        since=now,
        due_at=starter.due_at,
        deadline=(starter.due_at or now + USUAL_WATCH) + MARGIN,
        next_look_at=now + FIRST_LOOK,
    )
