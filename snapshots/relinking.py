"""A workflow that a person links to another key takes its approved content along, in Git as well."""

from __future__ import annotations

from typing import Any, ClassVar

from operations import services as operations
from operations.engine import Run
from operations.handlers import register
from workflows.gateway import environment_by_id
from workflows.identity import on_relinked
from workflows.linking import Relinked
from workflows.models import WorkflowEnvMap

from .canonical import WithDraft, canonical_content, commit_canonical, in_git

RELINK_KIND = "snapshots.relink"


@on_relinked
def move_in_git(told: Relinked) -> None:
    """Have the file moved once the link has committed; only what is approved has one."""
    place = WorkflowEnvMap.objects.filter(pk=told.map_id, git_content_hash__isnull=False).exists()
    if place:
        operations.start(
            tenant_id=told.tenant_id,
            kind=RELINK_KIND,
            title=f"Move {told.old_key} to {told.new_key} in Git",
            params={"environment_id": str(told.environment_id), "old_key": told.old_key, "new_key": told.new_key},
            requested_by=None,
            environment_id=told.environment_id,
        )


@register
class Relink:
    """Moves one approved file to its new key. Begun again it finds the old file gone and does nothing."""

    kind: ClassVar[str] = RELINK_KIND

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

        return dict(run.step("move", f"Move {old}.json to {new}.json", move, outside=in_git(environment)))
