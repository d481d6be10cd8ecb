"""What was approved: the plan's items as they are to be written, mapped as the plan says and in no other way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from operations.engine import Run
from promotions.errors import PlanStale
from promotions.planning import snapshot_contents
from promotions.planning.inputs import Facts, Place, Side
from promotions.planning.mapping import Mapped, keys_in_target, map_workflow, target_ids
from promotions.planning.options import SourceVersion
from snapshots.models import Snapshot
from workflows.models import Environment
from workflows.writes import Release, WriteItem, pending


class ApprovedContent:
    """The contents of one plan. ``items`` are those of the plan's that are written, by key."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        items: Mapping[str, dict[str, Any]],
        source: Environment,
        target: Environment,
        release: Release = Release(),  # noqa: B008 - frozen
    ) -> None:
        self.plan, self.items, self.source, self.target = plan, items, source, target
        self.release = release
        #: Keys of the workflows that the target does not have yet.
        self.creating = frozenset(key for key, item in items.items() if item["action"] == "create")

    @cached_property
    def _there(self) -> dict[str, str]:
        return target_ids(self.facts, self.creating)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return keys_in_target(self.facts, self.creating)

    def reader(self, run: Run) -> snapshot_contents.Reader:
        """The contents that were approved, as the source's snapshot holds them."""
        with run.fenced():
            snapshot = Snapshot.objects.defer("workflows").filter(pk=self.plan["source"]["snapshot_id"]).first()
        if snapshot is None:
            raise PlanStale("The snapshot of the source that the plan was made from is gone.")
        version = str((self.plan.get("options") or {}).get("version") or SourceVersion.PUBLISHED)
        return snapshot_contents.Reader(snapshot, list(self.items), version=version)

    def write_items(self, reader: snapshot_contents.Reader) -> list[WriteItem]:
        """One for each workflow that is created or updated; contents are loaded when they are written."""
        return [self._write_item(item, reader) for item in self.items.values()]

    def _write_item(self, item: dict[str, Any], reader: snapshot_contents.Reader) -> WriteItem:
        create = item["action"] == "create"
        word = "Create" if create else "Update"
        return WriteItem(
            key=item["key"],
            name=item["name"],
            title=f"{word} {item['name'] or item['key']}",
            action=item["action"],
            wanted_hash=item["wanted_hash"],
            env_workflow_id=None if create else item["target"]["env_workflow_id"],
            content=lambda: self.content_for(item, reader),
            active=item["active"],
            expected_active=None if create else item["target"]["active"],
            archived=None if create else False,
            expected_drafts=None if create else frozenset({item.get("expected_draft_hash")}),
            release=self.release,
            tags=item["tags"] if create else None,
            expected_hash=item["expected_hash"],
            needs=self.creating & {*item["depends_on"], *_self_call(item)},
            create_if_missing=False,
        )

    def content_for(self, item: Mapping[str, Any], reader: snapshot_contents.Reader) -> dict[str, Any]:
        """What was approved, and nothing else: the pinned blob, mapped as the plan says, proven by the wanted hash."""
        mapped = self._mapped(item, reader)
        if mapped.wanted_hash != item["wanted_hash"]:
            raise PlanStale(f"“{item['name']}” would not become what was approved.", details={"key": item["key"]})
        return mapped.content

    def hash_today(self, item: Mapping[str, Any], reader: snapshot_contents.Reader) -> str:
        """What was approved, hashed as today: the pinned blob proves it, whatever the plan's hash was made of."""
        return self._mapped(item, reader).wanted_hash

    def _mapped(self, item: Mapping[str, Any], reader: snapshot_contents.Reader) -> Mapped:
        found = reader.get(item["key"])
        pinned = item["source"]["blob"]
        if found is None or (pinned and found[0].get("blob") not in (None, pinned)):
            raise PlanStale(f"The content of “{item['name']}” that was approved is not in Git any more.")
        return map_workflow(found[1], facts=self.facts, workflow_ids=self._there, keys=self._keys)

    @cached_property
    def facts(self) -> Facts:
        """The mapping that the plan froze, whatever was entered since."""
        source: dict[str, Place] = {}
        target: dict[str, Place] = {}
        mapped: dict[tuple[str, str], tuple[str, str]] = {}
        by_id: dict[tuple[str, str], tuple[str, str]] = {}
        for item in self.plan["items"]:
            source[item["key"]] = _place(item["key"], item["source"]["env_workflow_id"])
            if item["target"]:
                target[item["key"]] = _place(item["key"], item["target"]["env_workflow_id"])
            for used in item["workflows"]:
                if used["key"] and used["target_id"]:
                    source.setdefault(used["key"], _place(used["key"], used["source_id"]))
                    if used["target_id"] != pending(used["key"]):
                        target.setdefault(used["key"], _place(used["key"], used["target_id"]))
            for used in (*item["credentials"], *item.get("data_tables", ())):
                if used["target_id"]:
                    found = (used["target_id"], used["target_name"])
                    mapped[used["type"], used["source_name"]] = found
                    if used["source_id"]:
                        by_id[used["type"], used["source_id"]] = found
        return Facts(
            source=Side(self.source, source, None),
            target=Side(self.target, target, None),
            mapped=mapped,
            mapped_by_id=by_id,
            prunes=bool(self.plan["options"].get("repair")),
        )


def _place(key: str, env_workflow_id: str) -> Place:
    return Place(key, "", env_workflow_id, "linked", "", "", "", False, (), 0, None)


def _self_call(item: Mapping[str, Any]) -> set[str]:
    return {used["key"] for used in item["workflows"] if used["key"] == item["key"]}
