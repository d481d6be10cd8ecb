"""Which two versions a diff shows: what is in the target, and what the promotion brings or has brought."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from promotions.models import Promotion
from promotions.planning.documents import Plan, PlanItem
from promotions.planning.options import SourceVersion
from promotions.running.documents import read_result
from workflows.models import Environment


def of_item(slug: str, promotion: Promotion, plan: Plan, item: PlanItem) -> str:
    """The diff of one workflow of the plan in the tenant ``slug``.

    Once written: the promotion's own snapshots, before and after. Until then the version that the plan locked, against
    the target as the plan saw it. Neither is "the environment today": the address stays true.
    """
    result = read_result(promotion.execution_result)
    before, after = result.pre_snapshot_id or plan.target.snapshot_id, result.post_snapshot_id
    left = f"snapshot:{before}" if before else promotion.target_environment.slug
    return _address(slug, item.key, left, f"snapshot:{after}" if after else _locked(plan, item))


def of_row(slug: str, key: str, source: Environment, target: Environment, *, draft: bool = False) -> str:
    """The diff of one workflow between two environments, as both were seen last."""
    return _address(slug, key, target.slug, f"draft:{source.slug}" if draft else source.slug)


def _locked(plan: Plan, item: PlanItem) -> str:
    kind = "snapshot-draft" if item.source.version == SourceVersion.DRAFT else "snapshot"
    return f"{kind}:{plan.source.snapshot_id}"


def _address(slug: str, key: str, left: str, right: str) -> str:
    """Nothing where there is no such page."""
    try:
        base = reverse("workflow-diff", kwargs={"tenant_slug": slug, "key": key})
    except NoReverseMatch:
        return ""
    return f"{base}?{urlencode({'left': left, 'right': right})}"
