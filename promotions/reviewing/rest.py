"""Reviews of promotions over REST: comments on changes, and who has viewed what."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.support_rules import READS, WRITES, in_support_session
from promotions.models import Promotion
from promotions.planning.documents import read_plan
from promotions.rows import get_promotion
from tenants.api import caller, visit_for_object
from tenants.scope import tenant_scope
from workflows.discussing import comments as discussing
from workflows.discussing.reading import comment_of, comments_of
from workflows.discussing.schemas import CommentChangeIn, DeletedAnswer

from . import comments, viewed
from .reading import marks_of
from .schemas import CommentAnswer, CommentIn, CommentsAnswer, ViewedAnswer, ViewedIn, comment_row, mark_row

router = Router()


@in_support_session(READS)
@router.get("/promotions/{promotion_id}/comments", response=CommentsAnswer, summary="Comments on a promotion's changes")
def list_comments(request: HttpRequest, promotion_id: uuid.UUID, workflow_key: str = "") -> dict[str, Any]:
    """Oldest first; with ``workflow_key`` those of one workflow."""
    promotion = _found(request, promotion_id)
    with tenant_scope(promotion.tenant_id):
        narrowed = {"workflow_key": workflow_key} if workflow_key else {}
        rows = comments_of(comments.subject_of(promotion), **narrowed)
    return {"comments": [comment_row(row) for row in rows], "unresolved": sum(not row.resolved_at for row in rows)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/comments", response={201: CommentAnswer}, summary="Comment on a workflow or a node"
)
def add_comment(request: HttpRequest, promotion_id: uuid.UUID, payload: CommentIn) -> Any:
    promotion = _found(request, promotion_id)
    made = comments.add(
        tenant_id=promotion.tenant_id,
        promotion_id=promotion.pk,
        workflow_key=payload.workflow_key,
        node=payload.node,
        text=payload.text,
        by=caller(request),
    )
    return Status(201, {"comment": _row(promotion, made.pk)})


@in_support_session(WRITES)
@router.patch(
    "/promotions/{promotion_id}/comments/{comment_id}",
    response=CommentAnswer,
    summary="Change one's own comment, or resolve any",
)
def change_comment(
    request: HttpRequest, promotion_id: uuid.UUID, comment_id: uuid.UUID, payload: CommentChangeIn
) -> dict[str, Any]:
    promotion = _found(request, promotion_id)
    subject = comments.subject_of(promotion)
    discussing.change(subject, comment_id=comment_id, text=payload.text, resolved=payload.resolved, by=caller(request))
    return {"comment": _row(promotion, comment_id)}


@in_support_session(WRITES)
@router.delete(
    "/promotions/{promotion_id}/comments/{comment_id}", response=DeletedAnswer, summary="Delete one's own comment"
)
def delete_comment(request: HttpRequest, promotion_id: uuid.UUID, comment_id: uuid.UUID) -> dict[str, Any]:
    promotion = _found(request, promotion_id)
    discussing.delete(comments.subject_of(promotion), comment_id=comment_id, by=caller(request))
    return {"deleted": comment_id}


@in_support_session(READS)
@router.get("/promotions/{promotion_id}/viewed", response=ViewedAnswer, summary="Who has viewed which workflow")
def list_viewed(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    """Marks that hold: what was viewed is what is planned."""
    promotion = _found(request, promotion_id)
    return _viewed(promotion)


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/viewed", response=ViewedAnswer, summary="Mark a workflow as viewed, or not")
def mark_viewed(request: HttpRequest, promotion_id: uuid.UUID, payload: ViewedIn) -> dict[str, Any]:
    promotion = _found(request, promotion_id)
    viewed.set_viewed(
        tenant_id=promotion.tenant_id,
        promotion_id=promotion.pk,
        workflow_key=payload.workflow_key,
        viewed=payload.viewed,
        by=caller(request),
    )
    return _viewed(promotion)


def _found(request: HttpRequest, promotion_id: uuid.UUID) -> Promotion:
    visit = visit_for_object(request, Promotion, promotion_id)
    return get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)


def _row(promotion: Promotion, comment_id: uuid.UUID) -> dict[str, Any]:
    with tenant_scope(promotion.tenant_id):
        return comment_row(comment_of(comments.subject_of(promotion), comment_id))


def _viewed(promotion: Promotion) -> dict[str, Any]:
    items = read_plan(promotion.plan).items
    with tenant_scope(promotion.tenant_id):
        return {"viewed": [mark_row(mark) for mark in marks_of(promotion.pk, items)]}
