"""The review of one workflow of a promotion: what is in the target beside what the promotion brings, with comments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from promotions.lifecycle import PLANNABLE
from promotions.models import Promotion, PromotionStatus, ReviewComment
from promotions.planning.documents import PlanItem, read_plan
from promotions.reading import diffs
from promotions.reading.page_version import version_now
from snapshots.sides import Side, compared, load_side
from tenants.pages import Visit
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.discussing.reading import Discussion, comments_of
from workflows.models import CanonicalWorkflow, WorkflowEnvMap
from workflows.presenters import TextOptions

from .comments import item_of, no_such_workflow, subject_of
from .reading import Dropped, Review, marks_of


def context(visit: Visit, promotion: Promotion, key: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything that ``promotions/review.html`` draws. Outside any scope. Raises ``NotFound``."""
    plan = read_plan(promotion.plan)
    item = item_of(promotion, key)
    left_spec, right_spec = diffs.specs_of(promotion, plan, item)
    left, right = load_side(visit, left_spec, key), load_side(visit, right_spec, key)
    shown = compared(
        left,
        right,
        view=query.get("view", "text"),
        text=TextOptions.read(query),
        base=_in_common(visit, promotion, key),
    )
    here = diffs.review_of(visit.tenant.slug, promotion, item.key)
    said = discussed(visit, promotion, key)
    drawn = set(shown["text"].nodes) if "text" in shown else set()
    others = said["discussion"].beside(drawn)
    return {
        **shown,
        **said,
        # Threads that no part of the page carries: of nodes that do not differ any more, or in a view without threads.
        "other_threads": others,
        "drawn_nodes": ["", *drawn, *(thread.node for thread in others)],
        "promotion": promotion,
        "item": item,
        "diff_query": f"{here}?",
        "version": version_now(tenant_id=visit.tenant.pk, promotion_id=promotion.pk),
        "contents_mark": diffs.mark_of(item),
        "versions_url": diffs.address(visit.tenant.slug, key, left_spec, right_spec),
        "nav_section": "promotions",
    }


def _in_common(visit: Visit, promotion: Promotion, key: str) -> Side | None:
    """What is approved in the target, where the workflow was changed there behind its back and nothing is decided."""
    if promotion.status not in (*PLANNABLE, PromotionStatus.RUNNING):
        return None
    target = promotion.target_environment
    with tenant_scope(visit.tenant.pk):
        there = WorkflowEnvMap.objects.filter(environment_id=target.pk, canonical_workflow__key=key).first()
    return load_side(visit, target.approved_version, key) if there is not None and there.is_drifted else None


def discussed(visit: Visit, promotion: Promotion, key: str) -> dict[str, Any]:
    """Comments on one workflow, and who has viewed it as it is planned now. Outside any scope.

    A workflow that is no longer in the plan keeps what was said of it. Raises ``NotFound`` where nothing was.
    """
    reader = real_person(visit.user)
    item = next((item for item in read_plan(promotion.plan).items if item.key == key), None)
    with tenant_scope(visit.tenant.pk):
        comments = comments_of(subject_of(promotion), workflow_key=key)
        marks = marks_of(promotion.pk, [item] if item is not None else [])
    if item is None and not comments:
        raise no_such_workflow()
    return {
        "discussion": discussion(visit, promotion, key, comments, item),
        "viewers": marks,
        "is_viewed": any(mark.reviewer_id == reader for mark in marks),
        "reader": reader,
    }


def threads_at(visit: Visit, promotion: Promotion, key: str, anchors: Collection[str]) -> dict[str, Any]:
    """What was said of the nodes that a page draws, also where that is nothing any more; '' is the whole workflow."""
    said: Discussion = discussed(visit, promotion, key)["discussion"]
    plan = read_plan(promotion.plan)
    specs = diffs.specs_of(promotion, plan, item_of(promotion, key))
    contents = [load_side(visit, spec, key).content for spec in specs]
    nodes = [str(node.get("name") or "") for content in contents if content for node in content["nodes"]]
    return {"discussion": said, "threads": said.at(anchors, nodes=nodes)}


def discussion(
    visit: Visit, promotion: Promotion, key: str, comments: Sequence[ReviewComment], item: PlanItem | None
) -> Discussion:
    """What was said of one workflow, for whoever looks."""
    return Discussion(
        comments,
        real_person(visit.user),
        diffs.review_of(visit.tenant.slug, promotion, key),
        (item.expected_hash or "") if item is not None else "",
        item.wanted_hash if item is not None else "",
        ident=key,
        is_closed=item is None,
        follower="promotions/_follower.html",
    )


def dropped(visit: Visit, promotion: Promotion, review: Review) -> list[Dropped]:
    """Workflows that were commented on before they fell out of the plan. Needs the tenant's scope."""
    planned = {item.key for item in read_plan(promotion.plan).items}
    keys = [key for key in review.comments if key not in planned]
    if not keys:
        return []
    names = dict(CanonicalWorkflow.objects.filter(key__in=keys).values_list("key", "name"))
    return [
        Dropped(names.get(key) or key, discussion(visit, promotion, key, review.comments[key], None)) for key in keys
    ]
