"""The kinds of long work about drift: check, stabilize, reconcile, take a reconcile back."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q

from core import clock
from core.errors import OpsError
from operations.engine import Run
from operations.errors import UnknownOutcome
from operations.handlers import register
from snapshots.capture import capture_into
from snapshots.models import SnapshotType
from snapshots.rehashing import ensure_current
from snapshots.selectors import set_aside_in
from workflows.gateway import client_for, environment_by_id
from workflows.models import ConnectionStatus, Environment
from workflows.n8n import PAGE_SIZES, N8nClient
from workflows.n8n.errors import TooLarge

from . import detection, job_summaries, scheduling, upgrades
from .errors import DetectionFailed
from .models import DriftMemory
from .quick_check import Known, Memory, QuickCheck, known_workflows, look
from .reconciling import reconcile
from .stabilizing import stabilize
from .undo_reconcile import TAKE_BACK, carry_out

SEEN_AGAIN_EVERY = timedelta(hours=1)


@register
class Check:
    """Look whether an environment is as it was captured last; capture it if not; bring the incidents in line."""

    kind: ClassVar[str] = "drift.check"
    one_at_a_time: ClassVar[bool] = True
    summary = staticmethod(job_summaries.checked)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        if reason := self._why_not(run, environment):
            return {"skipped": reason}
        ensure_current(run, environment, step="check")
        try:
            found = run.step("look", f"Look at {environment.name}", lambda: look_at(run, environment))
            if found["changed"]:
                capture_into(
                    run,
                    environment=environment,
                    snapshot_type=SnapshotType.DRIFT_CHECK,
                    description=f"Drift check: {found['reason']}"[:500],
                    step="capture",
                    snapshot_id=uuid.uuid5(run.operation.pk, "check"),
                )
        except UnknownOutcome:
            raise
        except OpsError as error:
            self._note(run, environment, ConnectionStatus.FAILED)
            raise DetectionFailed(
                f"{environment.name} could not be read: {error.message}",
                details={"environment_id": str(environment.pk), "cause": error.to_dict()},
                recovery=error.recovery,
            ) from error
        self._note(run, environment, ConnectionStatus.OK)
        if not found["changed"]:
            self._seen_again(run, environment)
            run.step("n8n", "See which n8n answers", lambda: self._notice(run, environment))
        outcome = run.step("compare", "Compare with what is approved", lambda: self._compare(run, environment))
        scheduling.note_run(run.tenant_id)
        return {**found, **outcome}

    def _compare(self, run: Run, environment: Environment) -> dict[str, Any]:
        return detection.detect(run, environment=environment)

    def _notice(self, run: Run, environment: Environment) -> dict[str, Any]:
        upgrade_id = upgrades.notice(run, environment)
        return {"upgrade_id": str(upgrade_id) if upgrade_id else None}

    def _why_not(self, run: Run, environment: Environment) -> str:
        if environment.is_archived:
            return "The environment is archived."
        if run.operation.requested_by_id is None and not scheduling.is_running(run.tenant_id):
            return "Checks of this tenant are stopped."
        if writer := detection.writer_of(environment):
            return f"“{writer}” is writing to the environment; the next check runs by itself."
        return ""

    def _note(self, run: Run, environment: Environment, status: str) -> None:
        with run.fenced():
            Environment.objects.filter(pk=environment.pk).exclude(connection_status=status).update(
                connection_status=status
            )

    def _seen_again(self, run: Run, environment: Environment) -> None:
        """The last snapshot still holds what is there; recorded at most hourly, to keep the trail readable."""
        now = clock.now()
        stale = Q(last_captured_at__lt=now - SEEN_AGAIN_EVERY) | Q(last_capture_error__isnull=False)
        with run.fenced():
            Environment.objects.filter(stale, pk=environment.pk).update(last_captured_at=now, last_capture_error=None)


def look_at(run: Run, environment: Environment) -> dict[str, Any]:
    """Look at an environment with what is remembered of it: ``{changed, reason, seen, pages, unchanged_pages}``."""
    with run.fenced():
        row = DriftMemory.objects.filter(environment_id=environment.pk).first()
    stored = row.pages if row is not None else {}
    memory = Memory.from_json(stored)
    with run.fenced():
        known = known_workflows(environment)
        aside = [finding.label for finding in set_aside_in(environment)]
    with client_for(environment) as client:
        found = _look_by_pages(client, known, memory, run.check)
    now = memory.to_json()
    if now != stored:
        with run.fenced():
            DriftMemory.objects.update_or_create(
                environment_id=environment.pk, defaults={"tenant_id": environment.tenant_id, "pages": now}
            )
    reason = found.reason or ("" if environment.last_snapshot_id else "The environment has never been captured.")
    return {
        "changed": bool(reason),
        "reason": reason,
        "seen": found.seen,
        "pages": found.pages,
        "unchanged_pages": found.unchanged_pages,
        "set_aside": aside,
    }


def _look_by_pages(
    client: N8nClient, known: Mapping[str, Known], memory: Memory, check: Callable[[], None]
) -> QuickCheck:
    """By smaller pages where a large one is more than can be taken."""
    for size in PAGE_SIZES:
        pages = client.iter_workflow_pages(page_size=size, exclude_pinned_data=True, cache=memory.pages)
        with contextlib.suppress(TooLarge):
            return look(pages, known=known, memory=memory, check=check)
    raise TooLarge


@register
class Stabilize:
    """Put drifted workflows back to what is approved."""

    kind: ClassVar[str] = "drift.stabilize"
    result_template: ClassVar[str] = "drift/_stabilized.html"
    summary = staticmethod(job_summaries.stabilized)

    def run(self, run: Run) -> dict[str, Any]:
        return stabilize(run, environment_by_id(run.tenant_id, run.params["environment_id"]))


@register
class Reconcile:
    """Take drifted workflows as approved."""

    kind: ClassVar[str] = "drift.reconcile"
    summary = staticmethod(job_summaries.reconciled)

    def run(self, run: Run) -> dict[str, Any]:
        return reconcile(run, environment_by_id(run.tenant_id, run.params["environment_id"]))


@register
class TakeBack:
    """Undo a reconcile: what was approved before it is approved again."""

    kind: ClassVar[str] = TAKE_BACK
    summary = staticmethod(job_summaries.taken_back)

    def run(self, run: Run) -> dict[str, Any]:
        return carry_out(run, environment_by_id(run.tenant_id, run.params["environment_id"]))
