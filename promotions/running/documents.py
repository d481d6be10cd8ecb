"""How a promotion ended, as it is stored on its row and answered by the REST API.

``read_result`` is the one place that reads stored results, whatever their age, and those that a runbook's SQL wrote.
What is UNSET was not told and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from core.documents import Document
from core.errors import OpsError
from workflows.content import NORMALIZATION_VERSION

RESULT_VERSION = 2
#: Results from before they had a version.
FIRST_RESULT_VERSION = 1

RollbackStatus = Literal["success", "partial", "failed"]


class ErrorRecord(Document, frozen=True, kw_only=True):
    """An error as it is stored: ``details`` and ``cause`` as it was raised."""

    message: str = ""
    code: str | UnsetType = UNSET
    recovery: str | UnsetType = UNSET
    details: dict[str, Any] | UnsetType = UNSET
    cause: dict[str, Any] | UnsetType = UNSET

    @classmethod
    def of(cls, error: Exception) -> ErrorRecord:
        """An exception that is none of ours keeps the name of its class in the message, of at most 500 characters."""
        if isinstance(error, OpsError):
            return cls.from_json(error.to_dict())
        return cls(message=f"{type(error).__name__}: {error}"[:500])


class SnapshotIds(Document, frozen=True, kw_only=True):
    """The snapshots of the target before and after; None where there is none."""

    pre_promotion: str | None = None
    post_promotion: str | None = None


class WorkflowOutcome(Document, frozen=True, kw_only=True):
    """What became of one workflow of the plan. ``outcome`` is UNSET for one that was not written.

    ``error``: why it, of all, could not be written; what was written was restored.
    """

    key: str
    name: str = ""
    action: str = ""
    outcome: str | UnsetType = UNSET
    env_workflow_id: str | UnsetType = UNSET
    left: list[dict[str, str]] | UnsetType = UNSET
    expected_hash: str | None = None
    wanted_hash: str = ""
    error: ErrorRecord | UnsetType = UNSET


class Difference(Document, frozen=True, kw_only=True):
    """Where the target is not what a snapshot says: content, activation, archived, draft, missing or extra."""

    env_workflow_id: str
    key: str
    name: str
    what: str
    expected: str | None
    found: str | None


class KeptPublished(Document, frozen=True, kw_only=True):
    """A workflow that stays published, though it was not before, because others call it."""

    key: str
    name: str
    called_by: tuple[str, ...]


class VerifiedWorkflow(Document, frozen=True, kw_only=True):
    """A promoted workflow as it was read back; ``listening`` says of each address whether n8n answers there."""

    key: str
    name: str
    env_workflow_id: str
    expected_hash: str | None
    wanted_hash: str
    found_hash: str | None
    active: bool | None
    ok: bool
    listening: dict[str, str] = {}


class UnprovenStarter(Document, frozen=True, kw_only=True):
    """A trigger of which only n8n's word says that it runs."""

    node: str
    kind: str
    why: str


class UnprovenWorkflow(Document, frozen=True, kw_only=True):
    """A workflow with such triggers; they are watched from the end of the promotion on."""

    key: str
    name: str
    addresses: tuple[str, ...] = ()
    starters: tuple[UnprovenStarter, ...] = ()


class Verification(Document, frozen=True, kw_only=True):
    """The whole target, read back after the writes. ``promoted`` and ``others_unchanged`` count workflows."""

    workflows: tuple[VerifiedWorkflow, ...]
    promoted: int
    others_unchanged: int
    changed_elsewhere: tuple[Difference, ...] = ()
    not_proven: tuple[UnprovenWorkflow, ...] = ()
    verified_at: str = ""


class RollbackProof(Document, frozen=True, kw_only=True):
    """The target compared with the snapshot before, by hash and by being published.

    ``equal`` and ``deleted`` count workflows. ``changed_elsewhere`` is what this promotion did not touch.
    """

    snapshot_id: str
    equal: int = 0
    not_as_before: tuple[Difference, ...] = ()
    deleted: int | UnsetType = UNSET
    workflows_in_snapshot: int | UnsetType = UNSET
    changed_elsewhere: tuple[Difference, ...] | UnsetType = UNSET
    kept_published: tuple[KeptPublished, ...] = ()
    proven_at: str = ""

    @property
    def keys_not_as_before(self) -> set[str]:
        """Keys, and ids in the target, of what is not as it was."""
        return {name for found in self.not_as_before for name in (found.key, found.env_workflow_id)}


class EditedWorkflow(Document, frozen=True, kw_only=True):
    """A workflow that somebody else has edited, or deleted (``gone``), and that was therefore left alone."""

    key: str
    name: str
    found_hash: str | None
    gone: bool


class RollbackResult(Document, frozen=True, kw_only=True):
    """How the last rollback ended, by the console or by a person (``by_hand``)."""

    status: RollbackStatus
    workflows_rolled_back: int = 0
    snapshot_id: str = ""
    proof: RollbackProof | None = None
    edited_by_others: tuple[EditedWorkflow, ...] | UnsetType = UNSET
    not_restored: tuple[str, ...] | UnsetType = UNSET
    cause: ErrorRecord | UnsetType = UNSET
    by_hand: bool | UnsetType = UNSET
    operation_id: str | UnsetType = UNSET


class RolledBackWorkflow(Document, frozen=True, kw_only=True):
    """A workflow that a person's rollback was for."""

    key: str
    name: str = ""
    action: str = ""
    env_workflow_id: str = ""


class ManualRollbackRecord(Document, frozen=True, kw_only=True):
    """A rollback that a person asked for. One that was noted by SQL has no ``status``, and tells only why."""

    status: RollbackStatus | UnsetType = UNSET
    rolled_back_at: str = ""
    rolled_back_by: str = ""
    reason: str = ""
    force: bool = False
    operation_id: str = ""
    snapshot_id: str = ""
    safety_snapshot_id: str = ""
    workflows: tuple[RolledBackWorkflow, ...] = ()
    proof: RollbackProof | None = None
    error: ErrorRecord | UnsetType = UNSET
    commit: str | UnsetType | None = UNSET
    after_snapshot_id: str | UnsetType | None = UNSET


class Release(Document, frozen=True, kw_only=True):
    """That a person has looked at the target and released it; ``by`` is their id."""

    by: str
    at: str
    reason: str


class Notice(Document, frozen=True, kw_only=True):
    """Whether people were told that the target is half-way: sending, waiting, told, failed or unknown."""

    state: str
    attempt: int
    note: str
    at: str


class ReconciledWorkflow(Document, frozen=True, kw_only=True):
    """A workflow whose drift was approved."""

    incident_id: str = ""
    key: str = ""
    name: str = ""
    content_hash: str = ""


class ExecutionResult(Document, frozen=True, kw_only=True):
    """What became of a promotion, its rollbacks included. ``needs_attention``: the target is neither old nor new.

    ``kind`` *reconcile* is a record of what was approved without being promoted.
    """

    version: int = FIRST_RESULT_VERSION
    error: ErrorRecord | UnsetType | None = UNSET
    rollback_result: RollbackResult | UnsetType | None = UNSET
    needs_attention: bool | UnsetType = UNSET
    target_untouched: bool | UnsetType = UNSET
    snapshot_ids: SnapshotIds | UnsetType | None = UNSET
    workflows: tuple[WorkflowOutcome, ...] | UnsetType = UNSET
    verification: Verification | UnsetType = UNSET
    commit: str | UnsetType | None = UNSET
    warning: ErrorRecord | UnsetType = UNSET
    manual_rollback: ManualRollbackRecord | UnsetType = UNSET
    automatic_rollback: RollbackResult | UnsetType = UNSET
    released: Release | UnsetType = UNSET
    told: Notice | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    commit_sha: str | UnsetType | None = UNSET
    drift_incident_ids: tuple[str, ...] | UnsetType = UNSET
    reconciled_workflows: tuple[ReconciledWorkflow, ...] | UnsetType = UNSET

    @property
    def pre_snapshot_id(self) -> str:
        """The id of the snapshot taken before the writes, or an empty text."""
        return (self.snapshot_ids.pre_promotion if self.snapshot_ids else None) or ""

    @property
    def post_snapshot_id(self) -> str:
        """The id of the snapshot taken after the writes, or an empty text."""
        return (self.snapshot_ids.post_promotion if self.snapshot_ids else None) or ""

    @property
    def is_rolled_back(self) -> bool:
        """Whether the target was proven to be as before."""
        return bool(self.rollback_result and self.rollback_result.status == "success")

    @property
    def left_target_as_it_was(self) -> bool:
        return bool(self.target_untouched) or self.is_rolled_back


def read_result(stored: Mapping[str, Any] | None) -> ExecutionResult:
    """A stored result of any version; an empty one for None. Raises ``msgspec.ValidationError``."""
    return ExecutionResult.from_json(stored or {})


class RollbackRow(Document, frozen=True, kw_only=True):
    """A workflow that is rolled back, as it was found. ``draft_hash`` is that of a draft which may be overwritten.

    ``verdict`` (see ``ownership``) is told by the console's own rollback only. ``kept_for`` names what calls it, so
    that it stays published.
    """

    key: str
    name: str
    action: str
    env_workflow_id: str
    found_hash: str | None
    draft_hash: str | UnsetType | None = UNSET
    verdict: str | UnsetType = UNSET
    kept_for: tuple[str, ...] | UnsetType = UNSET

    @property
    def is_created(self) -> bool:
        return self.action == "create"


class RollbackLook(Document, frozen=True, kw_only=True):
    """What a rollback found before its first write. ``normalization``: how workflows were compared."""

    rows: tuple[RollbackRow, ...]
    kept_published: tuple[KeptPublished, ...] = ()
    overwritten_edits: list[dict[str, Any]] | UnsetType = UNSET
    looked_at: str | UnsetType = UNSET
    normalization: int | UnsetType = UNSET

    @property
    def is_outdated(self) -> bool:
        """Whether the console compares in another way since."""
        return self.normalization not in (UNSET, NORMALIZATION_VERSION)


def kept_published(rows: tuple[RollbackRow, ...]) -> tuple[KeptPublished, ...]:
    """Those of the rows that stay published."""
    return tuple(KeptPublished(key=row.key, name=row.name, called_by=row.kept_for) for row in rows if row.kept_for)


def callers_by_key(rows: tuple[RollbackRow, ...]) -> dict[str, list[str]]:
    """Names of who calls what stays published, by its key."""
    return {row.key: list(row.kept_for) for row in rows if row.kept_for}
