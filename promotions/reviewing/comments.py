"""Comments on the changes of a promotion: whoever sees the promotion may comment."""

from __future__ import annotations

import uuid

from core.errors import NotFound
from promotions.domain_events import publish_comment
from promotions.models import Promotion, ReviewComment
from promotions.planning.documents import PlanItem, read_plan
from promotions.rows import get_promotion
from tenants.models import User
from workflows.discussing import comments
from workflows.discussing.comments import Subject


def subject_of(promotion: Promotion) -> Subject[ReviewComment]:
    """The promotion, as what comments are about."""
    key = {"promotion_id": promotion.pk}
    return Subject(tenant_id=promotion.tenant_id, model=ReviewComment, key=key, noun="promotion")


def add(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, workflow_key: str, node: str = "", text: str, by: User
) -> ReviewComment:
    """Say something about a workflow, or a node of it. Raises ``NotFound``, ``Invalid`` or ``Conflict``."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    item = item_of(promotion, workflow_key)
    return comments.add(
        subject_of(promotion),
        text=text,
        by=by,
        publish=lambda comment: publish_comment(promotion, comment),
        workflow_key=item.key,
        node=node,
        before_hash=item.expected_hash or "",
        after_hash=item.wanted_hash,
    )


def item_of(promotion: Promotion, workflow_key: str) -> PlanItem:
    """The workflow of the promotion's plan. Raises ``NotFound``."""
    found = next((item for item in read_plan(promotion.plan).items if item.key == workflow_key), None)
    if found is None:
        raise no_such_workflow()
    return found


def no_such_workflow() -> NotFound:
    """The refusal of a workflow that is not in the plan."""
    return NotFound("The promotion has no such workflow.", recovery="Go back to the promotion.")
