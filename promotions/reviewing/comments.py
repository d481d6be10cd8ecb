"""Comments on the changes of a promotion: whoever sees the promotion may comment; words are their author's."""

from __future__ import annotations

import uuid

from core import clock
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.texts import storable
from promotions.domain_events import publish_comment
from promotions.models import Promotion, ReviewComment
from promotions.planning.documents import PlanItem, read_plan
from promotions.rows import get_promotion, real_person
from tenants.models import User
from tenants.scope import tenant_scope

LONGEST = 4000
MOST_COMMENTS = 1000
"""Comments that one promotion holds."""


def add(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, workflow_key: str, node: str = "", text: str, by: User
) -> ReviewComment:
    """Say something about a workflow, or a node of it. Raises ``NotFound``, ``Invalid`` or ``Conflict``."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    item = item_of(promotion, workflow_key)
    said = _checked(text)
    with tenant_scope(tenant_id):
        if ReviewComment.objects.filter(promotion_id=promotion.pk).count() >= MOST_COMMENTS:
            raise Conflict(f"A promotion holds {MOST_COMMENTS:,} comments.", recovery="Delete some of yours.")
        comment = ReviewComment.objects.create(
            tenant_id=tenant_id,
            promotion=promotion,
            workflow_key=item.key,
            node=storable(node)[:400],
            text=said,
            before_hash=item.expected_hash or "",
            after_hash=item.wanted_hash,
            author_id=real_person(by),
        )
        publish_comment(promotion, comment)
    return comment


def edit(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, comment_id: uuid.UUID, text: str, by: User) -> ReviewComment:
    """Put one's own words differently. Raises ``Forbidden`` for those of somebody else."""
    said = _checked(text)
    with tenant_scope(tenant_id):
        comment = _own(promotion_id, comment_id, by)
        comment.text, comment.edited_at = said, clock.now()
        comment.save(update_fields=["text", "edited_at", "updated_at"])
    return comment


def delete(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, comment_id: uuid.UUID, by: User) -> None:
    """Take one's own words back; the trail keeps them."""
    with tenant_scope(tenant_id):
        _own(promotion_id, comment_id, by).delete()


def set_resolved(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, comment_id: uuid.UUID, resolved: bool, by: User
) -> ReviewComment:
    """Say that a comment is settled, or that it is not after all. Said twice, it stays as it was said first."""
    with tenant_scope(tenant_id):
        comment = _locked(promotion_id, comment_id)
        if resolved is (comment.resolved_at is not None):
            return comment
        comment.resolved_at = clock.now() if resolved else None
        comment.resolved_by_id = real_person(by) if resolved else None
        comment.save(update_fields=["resolved_at", "resolved_by", "updated_at"])
    return comment


def item_of(promotion: Promotion, workflow_key: str) -> PlanItem:
    """The workflow of the promotion's plan. Raises ``NotFound``."""
    found = next((item for item in read_plan(promotion.plan).items if item.key == workflow_key), None)
    if found is None:
        raise no_such_workflow()
    return found


def no_such_workflow() -> NotFound:
    """The refusal of a workflow that is not in the plan."""
    return NotFound("The promotion has no such workflow.", recovery="Go back to the promotion.")


def _checked(text: str) -> str:
    said = storable(text).strip()
    if not said:
        raise Invalid("A comment says something.", recovery="Write what you want to say.")
    if len(said) > LONGEST:
        raise Invalid(f"A comment has at most {LONGEST:,} characters.", recovery="Say it in fewer words.")
    return said


def _locked(promotion_id: uuid.UUID, comment_id: uuid.UUID) -> ReviewComment:
    found = ReviewComment.objects.select_for_update().filter(pk=comment_id, promotion_id=promotion_id).first()
    if found is None:
        raise NotFound
    return found


def _own(promotion_id: uuid.UUID, comment_id: uuid.UUID, by: User) -> ReviewComment:
    comment = _locked(promotion_id, comment_id)
    if comment.author_id != real_person(by):
        raise Forbidden("A comment is its author's.", recovery="Answer it with a comment of your own, or resolve it.")
    return comment
