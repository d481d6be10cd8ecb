"""What promotions publish."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from core.events import EventType
from outbox.publishing import publish

from .models import Promotion, PromotionStatus, ReviewComment


class _OfPromotion(msgspec.Struct, frozen=True, kw_only=True):
    promotion_id: uuid.UUID
    name: str
    source_environment_id: uuid.UUID
    target_environment_id: uuid.UUID


class PromotionPlanned(_OfPromotion, frozen=True, kw_only=True):
    """A plan was made, or made anew."""


class PromotionSubmitted(_OfPromotion, frozen=True, kw_only=True):
    """A plan waits for approval."""


class PromotionApproved(_OfPromotion, frozen=True, kw_only=True):
    """A plan may be run. ``decided_by_id`` is empty where no approval was needed."""

    decided_by_id: uuid.UUID | None


class PromotionRejected(_OfPromotion, frozen=True, kw_only=True):
    """A plan was turned down."""

    decided_by_id: uuid.UUID | None
    comment: str


class PromotionStarted(_OfPromotion, frozen=True, kw_only=True):
    """The job that writes was started."""

    job_id: uuid.UUID


class PromotionEnded(_OfPromotion, frozen=True, kw_only=True):
    """A promotion, or its rollback, came to an end. ``needs_attention``: its target was left half-way."""

    status: str
    needs_attention: bool
    job_id: uuid.UUID | None


class PromotionCommented(_OfPromotion, frozen=True, kw_only=True):
    """Somebody commented on a change; ``node`` is empty where the whole workflow is meant."""

    comment_id: uuid.UUID
    author_id: uuid.UUID | None
    workflow_key: str
    node: str


EVENTS = (
    EventType(name="promotion.planned", payload=PromotionPlanned, words="Promotion planned"),
    EventType(name="promotion.submitted", payload=PromotionSubmitted, words="Promotion waits for approval"),
    EventType(name="promotion.approved", payload=PromotionApproved, words="Promotion ready to run"),
    EventType(name="promotion.rejected", payload=PromotionRejected, words="Promotion rejected"),
    EventType(name="promotion.started", payload=PromotionStarted, words="Promotion started"),
    EventType(name="promotion.ended", payload=PromotionEnded, words="Promotion ended"),
    EventType(name="promotion.commented", payload=PromotionCommented, words="Promotion commented on"),
)


def publish_state(row: Promotion) -> None:
    """Publish the state that a promotion was just brought into, in the scope that wrote it."""
    promotion = _of(row)
    event: msgspec.Struct
    match row.status:
        case PromotionStatus.DRAFT:
            event = PromotionPlanned(**promotion)
        case PromotionStatus.PENDING_APPROVAL:
            event = PromotionSubmitted(**promotion)
        case PromotionStatus.APPROVED:
            event = PromotionApproved(**promotion, decided_by_id=row.decided_by_id)
        case PromotionStatus.REJECTED:
            event = PromotionRejected(**promotion, decided_by_id=row.decided_by_id, comment=row.decision_comment)
        case PromotionStatus.RUNNING if row.operation_id:
            event = PromotionStarted(**promotion, job_id=row.operation_id)
        case status:
            attention = row.attention_since is not None
            event = PromotionEnded(**promotion, status=status, needs_attention=attention, job_id=row.operation_id)
    publish(event, tenant_id=row.tenant_id)


def publish_comment(row: Promotion, comment: ReviewComment) -> None:
    """Publish that somebody commented, in the scope that wrote it."""
    event = PromotionCommented(
        **_of(row),
        comment_id=comment.pk,
        author_id=comment.author_id,
        workflow_key=comment.workflow_key,
        node=comment.node,
    )
    publish(event, tenant_id=row.tenant_id)


def _of(row: Promotion) -> dict[str, Any]:
    return {
        "promotion_id": row.pk,
        "name": row.name,
        "source_environment_id": row.source_environment_id,
        "target_environment_id": row.target_environment_id,
    }
