"""The last of a tenant's first steps: something is promoted, and taken back to see that it can be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse

from core.declarations import FirstStep
from promotions.models import Promotion, PromotionStatus
from workflows.first_steps import pipeline_query


def _ended(since: datetime | None, *states: str) -> bool:
    later: dict[str, Any] = {"created_at__gt": since} if since else {}
    return Promotion.objects.filter(Q(status__in=states), **later).exists()


STEPS = (
    FirstStep(
        name="promote",
        position=40,
        words="Promote a workflow",
        why="Choose one that differs, look at what will change, run it, and watch it being proven.",
        is_done=lambda since: _ended(since, PromotionStatus.COMPLETED, PromotionStatus.ROLLED_BACK),
        url=lambda slug: reverse("promotion-create", args=[slug]) + pipeline_query(),
    ),
    FirstStep(
        name="take-back",
        position=50,
        words="Take it back",
        why="On the page of the promotion: Roll back. Everything is as it was before, and proven again.",
        is_done=lambda since: _ended(since, PromotionStatus.ROLLED_BACK),
        url=lambda slug: reverse("promotions", args=[slug]),
    ),
)
