"""Plans whose hashes are of an older normalisation: the console was upgraded while their promotion was under way.

What was not begun is refused by name. What was begun goes on, with hashes made anew from the very contents that the old
ones stood for: the snapshot before, and the pinned blobs of what was approved. Nothing is judged by an old hash.
"""

from __future__ import annotations

import msgspec

from operations.engine import Run
from promotions.errors import PlanStale
from promotions.planning import snapshot_contents
from promotions.planning.documents import Plan, PlanItem
from snapshots.contents import MovedHashes, moved_hashes
from snapshots.models import Snapshot
from workflows.content import NORMALIZATION_VERSION

from .approved_content import ApprovedContent


def refusal(plan: Plan) -> PlanStale:
    """Why an outdated plan of which nothing was written is not carried out."""
    return PlanStale(
        "The console was upgraded since the plan was made, and compares workflows in another way now. Nothing was"
        " written.",
        details={"planned": plan.normalization_version, "now": NORMALIZATION_VERSION},
    )


def with_todays_hashes(run: Run, plan: Plan, approved: ApprovedContent, before: Snapshot) -> Plan:
    """The plan with the same meaning under today's normalisation. ``before`` is the snapshot that its own job took.

    Raises ``PlanStale`` where a hash stands for a content that nobody has.
    """
    moved = moved_hashes(before)
    with approved.reader(run) as reader:
        items = tuple(_rehashed(item, moved, approved, reader) if item.is_written else item for item in plan.items)
    return msgspec.structs.replace(plan, items=items, normalization_version=NORMALIZATION_VERSION)


def _rehashed(
    item: PlanItem, moved: MovedHashes, approved: ApprovedContent, reader: snapshot_contents.Reader
) -> PlanItem:
    expected, draft = item.expected_hash, item.expected_draft_hash
    if expected is not None and expected not in moved.contents:
        raise PlanStale(f"What “{item.name}” was before is not in the snapshot before.")
    return msgspec.structs.replace(
        item,
        expected_hash=moved.contents[expected] if expected is not None else None,
        expected_draft_hash=moved.drafts.get(draft, draft) if draft else None,
        wanted_hash=approved.hash_today(item, reader),
    )
