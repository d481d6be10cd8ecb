"""What a promotion's workflows are like before it is rolled back, and whether that may be overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from django.db.models import Q

from operations.engine import Run
from operations.models import OperationStep
from promotions.errors import RollbackRefused
from promotions.models import Promotion
from promotions.planning import snapshot_contents
from promotions.planning.documents import Plan, PlanItem
from snapshots.models import Snapshot
from snapshots.services import entries_of
from workflows.calling import can_be_active
from workflows.content import NORMALIZATION_VERSION
from workflows.writes import Resolver

from . import steps
from .documents import RollbackLook, RollbackRow, kept_published, read_result
from .kept_published import as_before, kept_for
from .steps import LISTED
from .target import Reading, draft_hash_in

Rows = tuple[RollbackRow, ...]


@dataclass(frozen=True, kw_only=True)
class PromotionToRollBack:
    """A promotion, and the snapshot to roll back to (``entries`` of its manifest, hashed as today)."""

    run: Run
    promotion: Promotion
    plan: Plan
    before: Snapshot
    entries: list[dict[str, Any]]

    @cached_property
    def items(self) -> dict[str, PlanItem]:
        return self.plan.written_items

    @cached_property
    def entry_by_key(self) -> dict[str, dict[str, Any]]:
        return {str(entry["key"]): entry for entry in self.entries}

    def hash_before(self, key: str) -> str | None:
        entry = self.entry_by_key.get(key)
        return str(entry["content_hash"]) if entry else None


def look_at(wanted: PromotionToRollBack, reading: Reading, resolver: Resolver, *, force: bool) -> RollbackLook:
    """One row for each workflow. Without ``force`` it raises ``RollbackRefused`` over what others have changed."""
    left = _hashes_left(wanted, force=force)
    created = _created_ids(wanted)
    created |= _created_unanswered(wanted, reading, resolver, left, created)
    rows = tuple(_row(item, created, reading, resolver) for item in wanted.items.values())
    edited = [row for row in rows if _is_edited(row, wanted, left)]
    if not force:
        _refuse_edited(edited, left)
        _refuse_callers(reading, rows, wanted)
    rows = _keep_called(wanted, reading, rows, force=force)
    return RollbackLook(
        rows=rows,
        overwritten_edits=_edits(edited, left)[:LISTED],
        kept_published=kept_published(rows),
        normalization=NORMALIZATION_VERSION,
    )


def _hashes_left(wanted: PromotionToRollBack, *, force: bool) -> dict[str, str]:
    """By key, the hash of what the promotion has left. An outdated plan does not tell; the snapshot after does."""
    if not wanted.plan.is_outdated:
        return {key: item.wanted_hash for key, item in wanted.items.items()}
    post_id = read_result(wanted.promotion.execution_result).post_snapshot_id
    with wanted.run.fenced():
        target_id = wanted.promotion.target_environment_id
        post = Snapshot.objects.filter(pk=post_id, environment_id=target_id).first() if post_id else None
    if post is not None:
        return {str(entry["key"]): str(entry["content_hash"]) for entry in entries_of(post)}
    if force:
        return {}
    raise RollbackRefused(
        "The console compares workflows in another way since, and no snapshot tells what this promotion left.",
        recovery="Look at the workflows in n8n; roll back with force, or restore them from the snapshot.",
    )


def _row(item: PlanItem, created: Mapping[str, str], reading: Reading, resolver: Resolver) -> RollbackRow:
    there = item.target.env_workflow_id if item.target else created.get(item.key)
    return RollbackRow(
        key=item.key,
        name=item.name,
        action=item.action,
        env_workflow_id=there or "",
        found_hash=reading.hash_of(there, resolver) if there else None,
        draft_hash=reading.draft_hash_of(there, resolver) if there else None,
    )


def _is_edited(row: RollbackRow, wanted: PromotionToRollBack, left: Mapping[str, str]) -> bool:
    """Whether somebody has changed it since: it is neither what was left nor what was there before.

    A promotion that was left half-way may have saved its version as a draft and not published it yet.
    """
    entry = wanted.entry_by_key.get(row.key)
    if row.draft_hash not in (None, draft_hash_in(entry) if entry else None, left.get(row.key)):
        return True
    if row.found_hash is None and row.is_created:
        return False
    allowed = {left.get(row.key), wanted.hash_before(row.key)}
    if not row.is_created and not wanted.plan.is_outdated:
        allowed.add(wanted.items[row.key].expected_hash)
    return row.found_hash not in allowed


def _edits(edited: list[RollbackRow], left: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**row.to_json(), "wanted_hash": left.get(row.key)} for row in edited]


def _refuse_edited(edited: list[RollbackRow], left: Mapping[str, str]) -> None:
    if edited:
        names = ", ".join(f"“{row.name}”" for row in edited[:3])
        details = {"edited": _edits(edited, left)[:LISTED]}
        raise RollbackRefused(f"Changed since the promotion: {names}.", details=details)


def _refuse_callers(reading: Reading, rows: Rows, wanted: PromotionToRollBack) -> None:
    """Workflows that are not rolled back and call one that would be deleted: promoted later, or made by hand."""
    deleted = {row.env_workflow_id: row.name for row in rows if row.found_hash and row.key not in wanted.entry_by_key}
    touched = {row.env_workflow_id for row in rows}
    callers = [
        {"env_workflow_id": there, "name": live.name, "calls": deleted[called]}
        for there, live in reading.workflows.items()
        if there not in touched
        for called in live.calls
        if called in deleted
    ][:LISTED]
    if callers:
        first = callers[0]
        message = f"“{first['name']}” calls “{first['calls']}”, which would be deleted."
        raise RollbackRefused(message, details={"callers": callers})


def _keep_called(wanted: PromotionToRollBack, reading: Reading, rows: Rows, *, force: bool) -> Rows:
    """The rows; what would be unpublished while others call it is kept published. Raises where it cannot be."""
    ending = {row.env_workflow_id: row for row in rows if _would_be_unpublished(row, wanted, reading)}
    old = {there: as_before(wanted.entry_by_key[row.key]) for there, row in ending.items()}
    target = wanted.promotion.target_environment
    callers = kept_for(target, reading, old, {row.env_workflow_id for row in rows})
    contents = snapshot_contents.load(wanted.before, [ending[there].key for there in callers])
    kept: dict[str, list[str]] = {}
    for there, names in callers.items():
        row = ending[there]
        if can_be_active(contents[row.key][1], called_count=True):
            kept[row.key] = names[:LISTED]
        elif not force:
            raise RollbackRefused(
                f"“{names[0]}” calls “{row.name}”, which n8n would not run as it was before.",
                details={"callers": [{"name": name, "calls": row.name} for name in names[:LISTED]]},
            )
    return tuple(
        msgspec.structs.replace(row, kept_for=tuple(kept[row.key])) if row.key in kept else row for row in rows
    )


def _would_be_unpublished(row: RollbackRow, wanted: PromotionToRollBack, reading: Reading) -> bool:
    entry, live = wanted.entry_by_key.get(row.key), reading.workflows.get(row.env_workflow_id)
    return entry is not None and live is not None and live.active and not entry.get("active")


def _created_ids(wanted: PromotionToRollBack) -> dict[str, str]:
    """n8n ids of what the promotion created: from its result, or from its steps where it was ended by hand."""
    result = read_result(wanted.promotion.execution_result)
    found = {row.key: row.env_workflow_id or "" for row in result.workflows or () if row.outcome == "created"}
    if wanted.promotion.operation_id is None:
        return found
    with wanted.run.fenced():
        written = OperationStep.objects.filter(
            operation_id=wanted.promotion.operation_id, name__startswith=steps.WRITE
        ).values_list("result", flat=True)
        for one in written:
            if one and one.get("outcome") == "created":
                found.setdefault(one["key"], one["env_workflow_id"])
    return found


def _created_unanswered(
    wanted: PromotionToRollBack,
    reading: Reading,
    resolver: Resolver,
    left: Mapping[str, str],
    created: Mapping[str, str],
) -> dict[str, str]:
    """n8n ids of creations that were begun and of which nobody knows the outcome, by key.

    Each is a workflow that nobody knew before the writes, of that name and with that very content.
    """
    results = _results_of_writes(wanted)
    taken = {*((results.get(steps.PLACES) or {}).get("keys") or {}), *created.values()}
    found: dict[str, str] = {}
    for key, item in wanted.items.items():
        name = f"{steps.WRITE}{key}"
        if not item.is_created or key in created or name not in results or results[name]:
            continue
        there = next(
            (
                there
                for there, live in reading.workflows.items()
                if there not in taken and live.name == item.name and resolver.hash_of(live.fingerprint) == left.get(key)
            ),
            None,
        )
        if there is not None:
            taken.add(there)
            found[key] = there
    return found


def _results_of_writes(wanted: PromotionToRollBack) -> dict[str, Any]:
    """What the promotion's steps returned, by their names; None for one that nobody knows the outcome of."""
    if wanted.promotion.operation_id is None:
        return {}
    with wanted.run.fenced():
        return dict(
            OperationStep.objects.filter(operation_id=wanted.promotion.operation_id)
            .filter(Q(name=steps.PLACES) | Q(name__startswith=steps.WRITE))
            .values_list("name", "result")
        )
