"""Long work about snapshots: capture, verify, and the care of their store. A restore's is in ``restore_job``."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import msgspec

from operations.engine import Run
from operations.handlers import register
from workflows.gateway import environment_by_id

from . import job_summaries, maintenance, pushing
from .capture import capture_into
from .contents import snapshot_by_id
from .manifest import verification_from
from .restore_job import Restore
from .verification import verify_snapshot

__all__ = ["Capture", "Maintain", "Push", "Restore", "Verify"]


@register
class Capture:
    """Take a snapshot of an environment."""

    kind: ClassVar[str] = "snapshots.capture"
    one_at_a_time: ClassVar[bool] = True
    summary = staticmethod(job_summaries.captured)

    def run(self, run: Run) -> dict[str, Any]:
        params = run.params
        environment = environment_by_id(run.tenant_id, params["environment_id"])
        # A schedule's parameters hold no id: there the operation lends its own.
        snapshot = capture_into(
            run,
            environment=environment,
            snapshot_type=params.get("snapshot_type", "scheduled"),
            description=params.get("description", ""),
            step="capture",
            snapshot_id=uuid.UUID(params.get("snapshot_id") or str(run.operation.pk)),
        )
        return {
            "snapshot_id": str(snapshot.pk),
            "workflow_count": snapshot.workflow_count,
            "git_commit_sha": snapshot.git_commit_sha,
            "findings": len(verification_from(snapshot.verification).findings),
        }


@register
class Verify:
    """Read a snapshot back from Git and compare every hash."""

    kind: ClassVar[str] = "snapshots.verify"
    summary = staticmethod(job_summaries.verified)

    def run(self, run: Run) -> dict[str, Any]:
        snapshot = snapshot_by_id(run.tenant_id, run.params["snapshot_id"])
        report: dict[str, Any] = run.step(
            "verify",
            "Read every workflow back from Git",
            lambda: msgspec.to_builtins(verify_snapshot(snapshot, run=run)),
        )
        return {name: value for name, value in report.items() if name != "findings"}


@register
class Maintain:
    """Pack the tenant's Git store; with ``full`` from scratch, and without what no branch leads to."""

    kind: ClassVar[str] = maintenance.KIND
    summary = staticmethod(job_summaries.packed)

    def run(self, run: Run) -> dict[str, Any]:
        full = bool(run.params.get("full"))
        result: dict[str, Any] = run.step("pack", "Pack it", lambda: maintenance.look_after(run.tenant_id, full=full))
        return result


@register
class Push:
    """Copy the tenant's Git store to its remote."""

    kind: ClassVar[str] = pushing.KIND
    summary = staticmethod(job_summaries.pushed)

    def run(self, run: Run) -> dict[str, Any]:
        return pushing.push(run)
