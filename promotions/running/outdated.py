"""Plans whose hashes are of an older normalisation: the console was upgraded while their promotion was under way.

What was not begun is refused by name. What was begun goes on, with hashes made anew from the very contents that the old
ones stood for: the snapshot before, and the pinned blobs of what was approved. Nothing is judged by an old hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from operations.engine import Run
from promotions.errors import PlanStale
from snapshots.models import Snapshot
from snapshots.services import moved_hashes
from workflows.content import NORMALIZATION_VERSION

if TYPE_CHECKING:
    from .approved_content import ApprovedContent


def is_outdated(plan: Mapping[str, Any]) -> bool:
    """Whether the hashes of a plan cannot be compared with any that are made now."""
    return bool(plan.get("items")) and int(plan.get("normalization_version") or 1) != NORMALIZATION_VERSION


def refusal(plan: Mapping[str, Any]) -> PlanStale:
    """Why an outdated plan of which nothing was written is not carried out."""
    return PlanStale(
        "The console was upgraded since the plan was made, and compares workflows in another way now. Nothing was"
        " written.",
        details={"planned": plan.get("normalization_version") or 1, "now": NORMALIZATION_VERSION},
    )


def with_todays_hashes(
    run: Run, plan: Mapping[str, Any], approved: ApprovedContent, before: Snapshot
) -> dict[str, Any]:
    """The plan with the same meaning under today's normalisation. ``before`` is the snapshot that its own job took.

    Raises ``PlanStale`` where a hash stands for a content that nobody has.
    """
    moved = moved_hashes(before)
    with approved.reader(run) as reader:

        def anew(item: Mapping[str, Any]) -> dict[str, Any]:
            expected, draft = item["expected_hash"], item.get("expected_draft_hash")
            if expected is not None and expected not in moved.contents:
                raise PlanStale(f"What “{item['name']}” was before is not in the snapshot before.")
            return {
                **item,
                "expected_hash": moved.contents.get(expected) if expected is not None else None,
                "expected_draft_hash": moved.drafts.get(draft, draft) if draft else None,
                "wanted_hash": approved.hash_today(item, reader),
            }

        items = [anew(item) if item["action"] != "unchanged" else dict(item) for item in plan["items"]]
    return {**plan, "items": items, "normalization_version": NORMALIZATION_VERSION}
