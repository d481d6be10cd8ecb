"""Which two versions a diff shows: what is in the target, and what the promotion brings or has brought."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from promotions.models import Promotion
from promotions.planning.documents import Plan, PlanItem
from promotions.planning.options import SourceVersion
from promotions.running.documents import ExecutionResult, read_result
from workflows.models import Environment


def of_item(slug: str, promotion: Promotion, plan: Plan, item: PlanItem, result: ExecutionResult) -> str:
    """The diff of one workflow of the plan in the tenant ``slug``.

    Once written: the promotion's own snapshots, before and after. Until then the version that the plan locked, against
    the target as the plan saw it. Neither is "the environment today": the address stays true.
    """
    return address(slug, item.key, *_specs(promotion, plan, item, result))


def specs_of(promotion: Promotion, plan: Plan, item: PlanItem) -> tuple[str, str]:
    """Before and after, as ``snapshots.diff_views.load_side`` reads them."""
    return _specs(promotion, plan, item, read_result(promotion.execution_result))


def _specs(promotion: Promotion, plan: Plan, item: PlanItem, result: ExecutionResult) -> tuple[str, str]:
    before, after = result.pre_snapshot_id or plan.target.snapshot_id, result.post_snapshot_id
    left = f"snapshot:{before}" if before else promotion.target_environment.seen_version
    return left, f"snapshot:{after}" if after else _locked(plan, item)


def of_row(slug: str, key: str, source: Environment, target: Environment, *, draft: bool = False) -> str:
    """The diff of one workflow between two environments, as both were seen last."""
    return address(slug, key, target.seen_version, source.draft_version if draft else source.seen_version)


def _locked(plan: Plan, item: PlanItem) -> str:
    kind = "snapshot-draft" if item.source.version == SourceVersion.DRAFT else "snapshot"
    return f"{kind}:{plan.source.snapshot_id}"


def address(slug: str, key: str, left: str, right: str) -> str:
    """The diff of two versions of a workflow; nothing where there is no such page."""
    try:
        base = reverse("workflow-diff", kwargs={"tenant_slug": slug, "key": key})
    except NoReverseMatch:
        return ""
    return f"{base}?{urlencode({'left': left, 'right': right})}"


def review_of(slug: str, promotion: Promotion, key: str) -> str:
    """The review of one workflow of the promotion: its diff, with what is said of it."""
    return reverse("promotion-review", kwargs={"tenant_slug": slug, "pk": promotion.pk, "key": key})


def mark_of(item: PlanItem) -> str:
    """Another one where either of the two contents that are compared is another; fit for an element's id."""
    return f"{item.key}-{(item.expected_hash or '')[:10]}-{item.wanted_hash[:10]}"
