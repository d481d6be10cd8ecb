"""Who has viewed which workflow of a promotion. A mark falls by itself once either of the two contents is another."""

from __future__ import annotations

import uuid
from typing import Any

from core import clock
from promotions.models import ReviewMark
from promotions.rows import get_promotion
from tenants.models import User
from tenants.persons import real_person
from tenants.scope import tenant_scope

from .comments import item_of


def set_viewed(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, workflow_key: str, viewed: bool, by: User
) -> ReviewMark | None:
    """Put a mark on a workflow as it is planned now, or take one's own away. Raises ``NotFound``."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    item = item_of(promotion, workflow_key)
    whose: dict[str, Any] = {"promotion_id": promotion.pk, "workflow_key": item.key, "reviewer_id": real_person(by)}
    with tenant_scope(tenant_id):
        if not viewed:
            ReviewMark.objects.filter(**whose).delete()
            return None
        seen = {"before_hash": item.expected_hash or "", "after_hash": item.wanted_hash, "created_at": clock.now()}
        mark, _ = ReviewMark.objects.update_or_create(tenant_id=tenant_id, **whose, defaults=seen)
    return mark
