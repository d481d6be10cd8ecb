"""How far a job that writes into the target is with each workflow of the plan, told from its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db.models.fields.json import KT

from operations.models import Operation, OperationStep, StepState
from promotions.lifecycle import EXECUTE, ROLLBACK
from promotions.planning.documents import Plan
from promotions.running.steps import UNDO_DECIDE

STAGES_SHOWN = 50

#: What is said while an action is under way, and once it is done.
_FORWARD = {
    "create": ("Writing", "Written"),
    "update": ("Writing", "Written"),
    "publish": ("Publishing", "Published"),
    "rest": ("Unpublishing", "Unpublished"),
    "draft": ("Writing its draft", "Written"),
    "archive": ("Archiving", "Archived"),
    "delete": ("Deleting", "Deleted"),
}
_BACK = {"delete": ("Deleting", "Deleted")}
_RESTORING = ("Restoring", "Restored")
_ORDER = ("failed", "unknown", "running", "parked", "pending", "done", "inactive")


class Stage(NamedTuple):
    """One workflow: the mark and the word of where it is, and what n8n said where it failed."""

    name: str
    mark: str
    word: str
    why: str = ""


_WAITING, _NOT_TOUCHED = Stage("", "pending", "Waiting"), Stage("", "inactive", "Not touched")


class Stages(NamedTuple):
    """``rows`` are those that most need to be seen, of ``total``."""

    rows: list[Stage]
    total: int


class _Last(NamedTuple):
    """The latest step on a workflow."""

    name: str
    state: str
    action: str
    why: str

    @property
    def is_back(self) -> bool:
        return self.name.startswith(("undo:", "rollback:"))


def goes_back(job: Operation) -> bool:
    """Whether an open job brings the target back to what it was. Needs the tenant's scope."""
    if job.kind == ROLLBACK:
        return True
    return job.kind == EXECUTE and job.steps.filter(name=UNDO_DECIDE).exists()


def stages_of(job: Operation, plan: Plan, *, back: bool) -> Stages:
    """Where each written workflow is; none for a job that writes none. ``back``: see ``goes_back``.

    One query. Needs the tenant's scope.
    """
    if job.kind not in (EXECUTE, ROLLBACK):
        return Stages([], 0)
    last = _last_steps(job, plan.written_items)
    untouched = _NOT_TOUCHED if back and job.kind == EXECUTE else _WAITING
    found = [
        _stage(item.name or key, last[key], back=back) if key in last else untouched._replace(name=item.name or key)
        for key, item in plan.written_items.items()
    ]
    found.sort(key=lambda stage: _ORDER.index(stage.mark))
    return Stages(found[:STAGES_SHOWN], len(found))


def _last_steps(job: Operation, keys: Iterable[str]) -> Mapping[str, _Last]:
    rows = (
        OperationStep.objects.filter(operation_id=job.pk, intent__key__in=list(keys))
        .annotate(key=KT("intent__key"), action=KT("intent__action"), outcome=KT("result__outcome"))
        .annotate(failure=KT("result__error__message"), refusal=KT("error__message"))
        .order_by("key", "-position")
        .distinct("key")
        .values_list("key", "name", "state", "action", "outcome", "failure", "refusal")
    )
    found = {}
    for key, name, state, action, outcome, failure, refusal in rows:
        # In a pass that goes on over failures, a step that is done may have failed.
        ended = str(StepState.FAILED) if outcome == "failed" else state
        found[key] = _Last(name, ended, action or "", failure or refusal or "")
    return found


def _stage(name: str, last: _Last, *, back: bool) -> Stage:
    if last.state == StepState.FAILED:
        return Stage(name, "failed", "Failed", last.why)
    if last.state == StepState.UNKNOWN:
        return Stage(name, "unknown", "Not known", last.why)
    if back and not last.is_back:
        return Stage(name, "parked", "To be restored")
    words = _BACK.get(last.action, _RESTORING) if last.is_back else _FORWARD.get(last.action, _FORWARD["update"])
    under_way, done = words
    return Stage(name, "done", done) if last.state == StepState.DONE else Stage(name, "running", under_way)
