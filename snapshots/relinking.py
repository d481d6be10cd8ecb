"""A workflow that a person links to another key takes its approved content along, in Git as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Q

from core import clock
from operations import services as operations
from operations.engine import Run
from operations.handlers import register
from workflows.content import fingerprint
from workflows.gateway import environment_by_id
from workflows.linking import Relinked
from workflows.models import Environment, WorkflowEnvMap

from . import job_summaries
from .canonical import WithDraft, canonical_content, canonical_references, commit_canonical, in_git

RELINK_KIND = "snapshots.relink"


def move_in_git(link: Relinked) -> None:
    """Have it done once the link has committed: only what is approved has a file, and approved drafts may call it."""
    approved = Q(pk=link.map_id, git_content_hash__isnull=False)
    drafted = Q(environment_id=link.environment_id, git_draft_hash__isnull=False)
    if WorkflowEnvMap.objects.filter(approved | drafted).exists():
        operations.start(
            tenant_id=link.tenant_id,
            kind=RELINK_KIND,
            title=f"Move {link.old_key} to {link.new_key} in Git",
            params={"environment_id": str(link.environment_id), "old_key": link.old_key, "new_key": link.new_key},
            requested_by=None,
            environment_id=link.environment_id,
        )


@register
class Relink:
    """Moves one approved file to its new key, and computes the hashes of approved drafts again: some may call it.

    Begun again it finds the old file gone and does nothing.
    """

    kind: ClassVar[str] = RELINK_KIND
    summary = staticmethod(job_summaries.relinked)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        old, new = run.params["old_key"], run.params["new_key"]

        def move() -> dict[str, Any]:
            content = canonical_content(environment, [old]).get(old)
            if content is None:
                return {"moved": False}
            draft = canonical_content(environment, [old], drafts=True).get(old)
            commit = commit_canonical(
                run,
                environment=environment,
                changes={old: None, new: WithDraft(content, draft)},
                message=f"Link {old} to {new}",
            )
            return {"moved": True, "commit": commit}

        moved = dict(run.step("move", f"Move {old}.json to {new}.json", move, external_call=in_git(environment)))
        drafts = run.step(
            "drafts", "Compute the hashes of approved drafts", lambda: _rehash_drafts(run, environment, {old: new})
        )
        found: dict[str, Any] = moved | drafts
        return found


def _rehash_drafts(run: Run, environment: Environment, moved: Mapping[str, str]) -> dict[str, int]:
    """What an approved draft calls has another key now: its meaning is the same, and so must be its hash.

    Their fingerprints are kept nowhere but in Git. What somebody approves meanwhile is hashed by today's keys already.
    """
    with run.fenced():
        rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk, git_draft_hash__isnull=False)
        before = {
            key: (pk, value) for pk, key, value in rows.values_list("pk", "canonical_workflow__key", "git_draft_hash")
        }
    known = {workflow_id: moved.get(key, key) for workflow_id, key in canonical_references(environment).items()}
    drafts = canonical_content(environment, list(before), drafts=True)
    hashes = {key: fingerprint(draft).content_hash(known) for key, draft in drafts.items()}
    with run.fenced():
        changed = sum(
            WorkflowEnvMap.objects.filter(pk=pk, git_draft_hash=value).update(
                git_draft_hash=hashes[key], updated_at=clock.now()
            )
            for key, (pk, value) in before.items()
            if hashes.get(key, value) != value
        )
    return {"drafts": changed}
