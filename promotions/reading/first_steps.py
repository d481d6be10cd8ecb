"""The last of a tenant's first steps: something is promoted, and taken back to see that it can be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse

from core.declarations import FirstStep
from promotions.models import Promotion, PromotionStatus
from tenants.models import Grants
from workflows.first_steps import pipeline_query


def _ended(since: datetime | None, *states: str) -> int:
    """How many have, two at the most."""
    later: dict[str, Any] = {"created_at__gt": since} if since else {}
    return len(Promotion.objects.filter(status__in=states, **later).values_list("pk")[:2])


def _knows_the_way_back(since: datetime | None) -> bool:
    """Who has promoted twice needs no advice any more, and is not led to taking a good promotion back."""
    done, back = PromotionStatus.COMPLETED, PromotionStatus.ROLLED_BACK
    return _ended(since, back) > 0 or _ended(since, done) > 1


STEPS = (
    FirstStep(
        name="promote",
        position=40,
        words="Promote a workflow",
        why="Choose one that differs, look at what will change, run it, and watch it being proven.",
        is_done=lambda since: _ended(since, PromotionStatus.COMPLETED, PromotionStatus.ROLLED_BACK) > 0,
        url=lambda slug: reverse("promotion-create", args=[slug]) + pipeline_query(),
        grant=Grants.OPERATE,
    ),
    FirstStep(
        name="take-back",
        position=50,
        words="Take it back",
        why="On the page of the promotion: Roll back. Everything is as it was before, and proven again.",
        is_done=_knows_the_way_back,
        url=lambda slug: reverse("promotions", args=[slug]),
        grant=Grants.OPERATE,
    ),
)
