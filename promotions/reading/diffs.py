"""Which two versions a diff speaks of: what stands in the target, and what the promotion brings or has brought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from promotions.models import Promotion
from promotions.planning.options import SourceVersion
from workflows.models import Environment


def of_item(slug: str, promotion: Promotion, item: Mapping[str, Any]) -> str:
    """The diff of one workflow of the plan in the tenant ``slug``.

    Once written: the promotion's own snapshots, before and after. Until then the version that the plan froze, against
    the target as it was before the writes, or else as it was seen last.
    """
    taken = (promotion.execution_result or {}).get("snapshot_ids") or {}
    before, after = taken.get("pre_promotion"), taken.get("post_promotion")
    left = f"snapshot:{before}" if before else promotion.target_environment.slug
    return _address(slug, item["key"], left, f"snapshot:{after}" if after else _frozen(promotion, item))


def of_row(slug: str, key: str, source: Environment, target: Environment, *, draft: bool = False) -> str:
    """The diff of one workflow between two environments, as both were seen last."""
    return _address(slug, key, target.slug, f"draft:{source.slug}" if draft else source.slug)


def _frozen(promotion: Promotion, item: Mapping[str, Any]) -> str:
    snapshot_id = ((promotion.plan or {}).get("source") or {}).get("snapshot_id")
    is_draft = item["source"].get("version") == SourceVersion.DRAFT
    return f"{'snapshot-draft' if is_draft else 'snapshot'}:{snapshot_id}"


def _address(slug: str, key: str, left: str, right: str) -> str:
    """Nothing where there is no such page."""
    try:
        base = reverse("workflow-diff", kwargs={"tenant_slug": slug, "key": key})
    except NoReverseMatch:
        return ""
    return f"{base}?{urlencode({'left': left, 'right': right})}"
