"""What a restore would do, did and proved, as typed documents: kept as results of jobs, and answered by the REST API.

Nothing reads a stored result back into these: pages and programs read it as it is. ``format`` says which shape it has.
"""

from __future__ import annotations

from typing import Any

import msgspec

RESULT_FORMAT = 1


class RestoreIssue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem, which stops a restore, or a warning, which does not.

    ``keys`` are those of all workflows concerned, where there are several. ``node``, ``path``, ``value`` and ``name``
    say which reference is meant, ``needs`` the key of what it calls, ``fault`` and ``repairable`` what n8n refuses.
    """

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

    @property
    def concerned(self) -> set[str]:
        """Keys of the workflows that it is about."""
        return {self.key, *(self.keys or ())}


class KeptPublished(msgspec.Struct, frozen=True):
    """A workflow that stays published, or there at all, because something that runs calls it."""

    key: str
    name: str
    called_by: list[str]


class PlannedWorkflow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to one workflow of the snapshot; see ``planning.RestoreItem``.

    ``outcome`` is set in the result of a dry run only.
    """

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
    outcome: str | None = None


class ExtraWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that the snapshot does not hold. ``effect``: deleted, or left alone."""

    key: str
    name: str
    env_workflow_id: str
    active: bool
    effect: str
    kept_for: list[str]


class MissingSecret(msgspec.Struct, frozen=True):
    """A credential that is made without its secret."""

    type: str
    name: str


class RestorePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore would do. ``counts`` go by the names of the lists."""

    new_workflows: list[PlannedWorkflow]
    updated_workflows: list[PlannedWorkflow]
    unchanged_workflows: list[PlannedWorkflow]
    skipped_workflows: list[PlannedWorkflow]
    left_out_workflows: list[PlannedWorkflow]
    extra_workflows: list[ExtraWorkflow]
    kept_published: list[KeptPublished]
    stubs: list[MissingSecret]
    problems: list[RestoreIssue]
    warnings: list[RestoreIssue]
    counts: dict[str, int]
    can_restore: bool

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class ProofDifference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a workflow is not as it was to be: its content hash, or the ``fact`` that is named."""

    key: str
    name: str | None = None
    fact: str | None = None
    wanted: Any
    found: Any


class ProofResidue(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that could not be restored, and why."""

    key: str
    name: str
    fact: str
    reason: str


class ProofReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof found; the lists are bounded. ``compared`` counts workflows."""

    equal: bool
    compared: int
    differing: list[ProofDifference]
    left: list[ProofResidue]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class RestoreApproval(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore made the approved version: keys of workflows, and of those that nobody has approved yet.

    ``commit`` is None where nothing was approved.
    """

    commit: str | None = None
    approved: list[str] = []
    not_approved: list[str] = []
