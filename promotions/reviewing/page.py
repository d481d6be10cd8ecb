"""The review of one workflow of a promotion: what is in the target beside what the promotion brings, with comments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promotions.models import Promotion
from promotions.planning.documents import PlanItem, read_plan
from promotions.reading import diffs
from promotions.rows import real_person
from snapshots.sides import load_side
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.presenters import DiffSide, TextOptions, diff_context

from .comments import item_of
from .reading import Discussion, comments_of, marks_of


def context(visit: Visit, promotion: Promotion, key: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything that ``promotions/review.html`` draws. Outside any scope. Raises ``NotFound``."""
    plan = read_plan(promotion.plan)
    item = item_of(promotion, key)
    left_spec, right_spec = diffs.specs_of(promotion, plan, item)
    left, right = load_side(visit, left_spec, key), load_side(visit, right_spec, key)
    shown = diff_context(
        DiffSide(left.content, left.label, left.keys),
        DiffSide(right.content, right.label, right.keys),
        view=query.get("view", "text"),
        across=left.environment != right.environment,
        text=TextOptions.read(query),
    )
    here = diffs.review_of(visit.tenant.slug, promotion, item)
    said = discussed(visit, promotion, item)
    drawn = {part.node for part in shown["text"].shown} if "text" in shown else set()
    return {
        **shown,
        **said,
        # Threads that no part of the page carries: of nodes that do not differ any more, or in a view without threads.
        "other_threads": [thread for thread in said["discussion"].on_nodes if thread.node not in drawn],
        "promotion": promotion,
        "item": item,
        "diff_query": f"{here}?",
        "versions_url": diffs.address(visit.tenant.slug, key, left_spec, right_spec),
        "nav_section": "promotions",
    }


def discussed(visit: Visit, promotion: Promotion, item: PlanItem) -> dict[str, Any]:
    """Comments on one workflow, and who has viewed it. Outside any scope."""
    reader = real_person(visit.user)
    with tenant_scope(visit.tenant.pk):
        comments = comments_of(promotion.pk, workflow_key=item.key)
        marks = marks_of(promotion.pk, [item])
    return {
        "discussion": Discussion(
            comments,
            reader,
            diffs.review_of(visit.tenant.slug, promotion, item),
            item.expected_hash or "",
            item.wanted_hash,
        ),
        "viewers": marks,
        "is_viewed": any(mark.reviewer_id == reader for mark in marks),
        "reader": reader,
    }
