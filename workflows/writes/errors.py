"""Errors of writes to n8n."""

from __future__ import annotations

from core.errors import Conflict, OpsError


class EditedMeanwhile(Conflict):
    """Somebody else changed the workflow. ``details``: expected, wanted, found (hashes), version_id, updated_at."""

    code = "WRITE_001"
    title = "Somebody else edited the workflow"
    message = "The workflow is neither as it was when this was planned nor as it is meant to become."
    recovery = "Look at the edit in n8n, capture the environment, and decide again."


class NotAsWritten(OpsError):
    """n8n took the write, but what it holds now is something else."""

    code = "WRITE_002"
    title = "n8n kept something else"
    message = "The content read back from n8n is not what was written."
    recovery = "Compare the workflow in n8n with the snapshot; n8n's version may not know a node or setting."
    status = 502


class HalfWritten(OpsError):
    """A write was interrupted: what is there is a mixture of the old and the new content, and nobody else's work.

    ``details``: key, env_workflow_id, found (its hash, which undoing the write may overwrite), created (bool).
    """

    code = "WRITE_004"
    title = "The write ended half-way"
    message = "n8n failed in the middle of the write and kept only a part of it."
    recovery = "The former content is restored automatically; check n8n's log for the cause before you try again."
    status = 502


class NotActivated(OpsError):
    """The content is there, but the workflow is not in the state (active, inactive) that was asked for."""

    code = "WRITE_003"
    title = "The workflow could not be published"
    message = "The content was written, but n8n does not run it."
    recovery = "Open the workflow in n8n: a missing trigger or credential is the usual cause."
    status = 502


class Archived(Conflict):
    """The workflow is archived, and the API of this n8n cannot unarchive it."""

    code = "WRITE_005"
    title = "The workflow is archived in n8n"
    message = "The workflow is archived in n8n, and this version of n8n cannot take it out by its API."
    recovery = "Unarchive it in n8n (or delete it there), capture the environment, and decide again."
