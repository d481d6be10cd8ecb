"""What can go wrong with snapshots and restores. The codes are those of the operators' runbook."""

from __future__ import annotations

from core.errors import Conflict, Forbidden, NotConfirmed, OpsError


class CaptureFailed(OpsError):
    """The snapshot was not made; ``details`` names the cause (n8n's code, or what Git said)."""

    code = "SNAP_001"
    title = "The snapshot was not made"
    message = "The snapshot could not be written to the Git store."
    recovery = "Check that the Git store is writable and has room, then capture again."
    status = 502


class NotCopied(OpsError):
    """The snapshot is safe here, and not at the remote; ``details["cause"]`` is the GIT code that says why."""

    code = "SNAP_001"
    title = "The snapshot was not copied"
    message = "The remote repository could not be brought up to date. Nothing is lost: the local store has it all."
    recovery = "Check the remote's credentials and permissions in the settings, then copy again."
    status = 502


class SnapshotUnreadable(OpsError):
    code = "SNAP_002"
    title = "The snapshot's content is missing"
    message = "The content of this snapshot is neither in the Git store nor in the database."
    recovery = (
        "Choose another snapshot, fetch the repository again from its remote, or run 'manage.py snapshots_recover'."
    )
    status = 409


class SnapshotDamaged(OpsError):
    code = "SNAP_003"
    title = "The snapshot is damaged"
    message = "What Git holds is not what was captured."
    recovery = "Choose another snapshot; the report on this one names the workflows concerned."
    status = 409


class PreviewFailed(OpsError):
    code = "REST_001"
    title = "The restore cannot be previewed"
    message = "The environment or the snapshot could not be read, so nothing can be said about the effect."
    recovery = "Verify the snapshot, test the environment's connection, and ask again."
    status = 502


class RestoreRefused(OpsError):
    """Refused before anything was written; ``details["problems"]`` is the list."""

    code = "REST_001"
    title = "The restore was refused"
    message = "Restoring this would leave workflows that cannot run."
    recovery = "Put right what is listed, choose fewer workflows, or restore with validation switched off."
    status = 409


class RestoreFailed(OpsError):
    """A write failed and what had been changed was put back; ``details`` is the report."""

    code = "REST_002"
    title = "The restore failed"
    message = "The restore stopped half-way; what it had changed was put back."
    recovery = "Look at the failed workflows, check n8n, then restore again with fewer workflows."
    status = 502


class WorkflowNotRestored(OpsError):
    code = "REST_003"
    title = "A workflow could not be written"
    message = "The workflow could not be created or updated in the environment."
    recovery = "Read n8n's own words in the details, put that right, and restore this workflow alone."
    status = 502


class PutBackFailed(OpsError):
    """What had been changed could not all be put back: the environment is in between."""

    code = "REST_004"
    title = "Not everything could be put back"
    message = "The restore failed, and some workflows could not be put back as they were."
    recovery = "Restore the snapshot taken before this restore; the report lists the workflows concerned."
    status = 502


class EnvironmentLocked(Conflict):
    code = "REST_005"
    title = "The environment is being written to"
    message = "Another job writes to this environment."
    recovery = "Wait for it to end, or cancel it on its page."


class RestoreNotConfirmed(NotConfirmed):
    code = "REST_006"
    message = "Restoring into production needs the environment's name, typed exactly."


class ApproverNeeded(Forbidden):
    code = "REST_007"
    title = "Somebody who may approve is needed"
    message = "What was never approved for this environment becomes approved only by somebody who may approve."
    recovery = "Restore without approving it, or ask somebody who may approve in this environment to do it."


class ForeignSnapshot(Forbidden):
    code = "REST_008"
    title = "That is another environment's snapshot"
    message = "What was never approved for production enters it by a promotion, not by another environment's snapshot."
    recovery = "Promote the workflows, or restore a snapshot of this environment."


class BaselineNotConfirmed(NotConfirmed):
    code = "SNAP_006"
    message = "Approving what is in production now needs the environment's name, typed exactly."
