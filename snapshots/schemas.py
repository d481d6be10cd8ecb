"""Snapshots and restores as the REST API asks and answers."""

from __future__ import annotations

import uuid
from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict, JsonValue

from core.answers import Answer, ErrorOut, FreeForm, PageAnswer
from core.asked import Asked
from operations.schemas import OperationOut

from .models import SnapshotType

# -- what is asked ----------------------------------------------------------------------------------------------------


class SnapshotIn(Asked):
    """A capture to be made. ``wait`` (query) is how many seconds the call may take.

    A ``baseline`` becomes the approved version, which in production takes somebody who may approve.
    """

    environment_id: uuid.UUID
    snapshot_type: str = str(SnapshotType.MANUAL_BACKUP)
    description: str = ""


class RestoreChoices(Schema):
    """How a restore is done; see ``RestoreIn``."""

    overwrite_existing: bool = True
    delete_extra: bool = False
    stubs: bool = False
    repair: bool = False
    leave_out: bool = False


class RestoreIn(Asked):
    """A restore. ``workflow_keys`` limits it to some workflows; ``delete_extra`` removes what the snapshot lacks.

    ``stubs`` makes missing credentials without their secrets, ``repair`` takes away what n8n refuses and nothing needs,
    ``leave_out`` restores the rest where something cannot be restored, and names it. ``approve`` makes what was
    restored the approved version, for ``reason``; left out, that is done for what a promotion captured before it wrote.
    """

    snapshot_id: uuid.UUID
    dry_run: bool = False
    overwrite_existing: bool = True
    skip_validation: bool = False
    delete_extra: bool = False
    stubs: bool = False
    repair: bool = False
    leave_out: bool = False
    approve: bool | None = None
    reason: str = ""
    workflow_keys: list[str] | None = None


# -- snapshots --------------------------------------------------------------------------------------------------------


class DraftOut(Answer):
    """A draft that holds something else than what runs, and where its content is in Git."""

    content_hash: str
    blob: str
    path: str
    bytes: int = 0
    version_id: str = ""


class FactsOut(Answer):
    """Facts of a workflow beside its behaviour. ``settings``: those that the console does not know, as n8n has them."""

    v: int = 1
    archived: bool = False
    tags: list[str] = []
    description: str | None = None
    folder: str | None = None
    settings: FreeForm = {}


class LiveVersionOut(Answer):
    """The version that n8n ran, by its word."""

    version_id: str
    authors: str = ""
    name: str = ""
    saved_at: str = ""


class EntryOut(Answer):
    """One workflow of a snapshot; ``content`` where it was asked for."""

    key: str
    name: str
    path: str
    content_hash: str
    comparable_hash: str
    active: bool
    env_workflow_id: str
    blob: str
    bytes: int
    node_count: int
    version_id: str
    updated_at: str | None
    tags: list[str] = []
    archived: bool = False
    facts: FactsOut | None = None
    live: LiveVersionOut | None = None
    draft: DraftOut | None = None
    webhooks: list[str] = []
    refs: list[str] = []
    calls: list[str] | None = None
    live_content_hash: str | None = None
    content: FreeForm = {}


class ProblemOut(Answer):
    """What is wrong with one workflow; ``key`` is empty where the whole snapshot is meant."""

    key: str
    name: str
    code: str
    message: str


class CaptureFindingOut(Answer):
    """Something odd that a capture noted."""

    code: str
    message: str
    env_workflow_id: str = ""
    name: str = ""
    node: str = ""


class SnapshotVerificationOut(Answer):
    """``status``: not_checked, verified or damaged."""

    status: str
    problems: list[ProblemOut]
    findings: list[CaptureFindingOut]


class SnapshotOut(Answer):
    """A snapshot. ``total_bytes`` is the size of all contents."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    environment_name: str
    snapshot_type: str
    description: str
    workflow_count: int | None
    total_bytes: int | None
    git_commit_sha: str | None
    created_at: datetime
    created_by: uuid.UUID | None
    operation_id: uuid.UUID | None
    verified_at: datetime | None
    verification: SnapshotVerificationOut


class SnapshotDetailOut(SnapshotOut):
    workflows: list[EntryOut]


class CapturedSnapshotOut(Answer):
    """A snapshot that is being captured; once it is there, with all that ``SnapshotOut`` has."""

    id: uuid.UUID
    environment_id: uuid.UUID
    snapshot_type: str
    description: str
    status: str
    tenant_id: uuid.UUID | None = None
    environment_name: str = ""
    workflow_count: int | None = None
    total_bytes: int | None = None
    git_commit_sha: str | None = None
    created_at: datetime | None = None
    created_by: uuid.UUID | None = None
    operation_id: uuid.UUID | None = None
    verified_at: datetime | None = None
    verification: SnapshotVerificationOut | None = None


class SnapshotList(PageAnswer):
    snapshots: list[SnapshotOut]


class RestoreIssueOut(Answer):
    """A problem, which stops a restore, or a warning, which does not; see ``restore_documents.RestoreIssue``."""

    code: str
    key: str
    message: str
    keys: list[str] | None = None
    workflow_name: str | None = None
    node: str | None = None
    path: str | None = None
    value: str | None = None
    name: str | None = None
    credential_type: str | None = None
    needs: str | None = None
    fault: str | None = None
    repairable: bool | None = None
    called_by: list[str] | None = None


class SnapshotDetailAnswer(Answer):
    """``warnings``, where contents were asked for: what Git has lost and the database gave instead (SNAP_002)."""

    snapshot: SnapshotDetailOut
    warnings: list[RestoreIssueOut] = []


class CaptureAnswer(Answer):
    """The snapshot, as far as it has come, and the job that captures it."""

    snapshot: CapturedSnapshotOut
    operation: OperationOut


class VerificationOut(Answer):
    """What was read back from Git; ``bytes`` is its size. Times are ISO 8601."""

    status: str
    checked_at: str
    workflows: int
    bytes: int
    problems: list[ProblemOut]


class VerificationAnswer(Answer):
    verification: VerificationOut


# -- restores ---------------------------------------------------------------------------------------------------------


class KeptPublishedOut(Answer):
    """What stays published because something that runs calls it."""

    key: str
    name: str
    called_by: list[str]


class PlannedWorkflowOut(Answer):
    """What would happen to one workflow of the snapshot."""

    key: str
    name: str
    action: str
    env_workflow_id: str | None
    snapshot_workflow_id: str
    content_hash: str
    current_hash: str | None
    active: bool
    current_active: bool | None
    current_name: str | None
    archived: bool
    current_archived: bool | None
    has_draft: bool
    current_has_draft: bool
    effects: list[str]
    held: str
    kept_for: list[str]
    why: list[str]


class ExtraWorkflowOut(Answer):
    """A workflow that the snapshot does not hold. ``effect``: deleted, or left alone."""

    key: str
    name: str
    env_workflow_id: str
    active: bool
    effect: str
    kept_for: list[str]


class MissingSecretOut(Answer):
    """A credential that is made without its secret."""

    type: str
    name: str


class RestorePreviewOut(Answer):
    """What a restore would do. ``counts`` go by the names of the lists."""

    environment_id: uuid.UUID
    snapshot_id: uuid.UUID
    new_workflows: list[PlannedWorkflowOut]
    updated_workflows: list[PlannedWorkflowOut]
    unchanged_workflows: list[PlannedWorkflowOut]
    skipped_workflows: list[PlannedWorkflowOut]
    left_out_workflows: list[PlannedWorkflowOut]
    extra_workflows: list[ExtraWorkflowOut]
    kept_published: list[KeptPublishedOut]
    stubs: list[MissingSecretOut]
    problems: list[RestoreIssueOut]
    warnings: list[RestoreIssueOut]
    counts: dict[str, int]
    can_restore: bool


class RestorePreviewAnswer(Answer):
    preview: RestorePreviewOut


class RestoredWorkflowOut(Answer):
    """What became of one workflow, or would. A write and a plan say more of it: see ``workflows.writes.Written``."""

    model_config = ConfigDict(extra="allow")

    key: str
    name: str = ""
    outcome: str = ""
    env_workflow_id: str | None = None
    content_hash: str | None = None
    reason: str | None = None
    error: ErrorOut | None = None


class ProofDifferenceOut(Answer):
    """Where a workflow is not as it was to be: its content hash, or the ``fact`` that is named."""

    key: str
    name: str | None = None
    fact: str | None = None
    wanted: JsonValue
    found: JsonValue


class ProofResidueOut(Answer):
    """A fact that could not be restored, and why."""

    key: str
    name: str
    fact: str
    reason: str


class ProofOut(Answer):
    """The snapshot taken after a restore against what was to be there."""

    equal: bool
    compared: int
    differing: list[ProofDifferenceOut]
    left: list[ProofResidueOut]


class UnpublishedOut(Answer):
    """A workflow that ran and was restored unpublished, and why."""

    key: str
    name: str
    why: str


class StubOut(Answer):
    """A credential that waits for its secret; ``url`` is where n8n asks for it."""

    id: str
    name: str
    type: str
    url: str
    needs_secret: bool


class RestoreApprovalOut(Answer):
    """Keys of what became the approved version, and of what nobody who may has approved yet."""

    commit: str | None
    approved: list[str]
    not_approved: list[str]


class RestoreOut(Answer):
    """What a restore did, or would do. Lists appear as far as the job has come.

    ``status``: the job's while it runs; then restored, restored_and_edited_since, would_restore, would_be_refused,
    put_back, partly_put_back or not_put_back.
    """

    format: int = 1
    dry_run: bool
    snapshot_id: uuid.UUID
    status: str
    created: list[RestoredWorkflowOut]
    updated: list[RestoredWorkflowOut]
    skipped: list[RestoredWorkflowOut]
    failed: list[RestoredWorkflowOut]
    deleted: list[RestoredWorkflowOut] = []
    rewired: list[RestoredWorkflowOut] = []
    left_out: list[PlannedWorkflowOut] = []
    unreadable: list[FreeForm] = []
    kept_published: list[KeptPublishedOut] = []
    unpublished: list[UnpublishedOut] = []
    worklist: list[StubOut] = []
    stubs: list[MissingSecretOut] = []
    problems: list[RestoreIssueOut] = []
    warnings: list[RestoreIssueOut] = []
    counts: dict[str, int] = {}
    proof: ProofOut | None = None
    approval: RestoreApprovalOut | None = None
    pre_snapshot_id: uuid.UUID | None = None
    post_snapshot_id: uuid.UUID | None = None


class RestoreAnswer(Answer):
    """The restore as far as it has come, and its job."""

    restore: RestoreOut
    operation: OperationOut
