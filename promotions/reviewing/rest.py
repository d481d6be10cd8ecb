"""Reviews of promotions over REST: comments on changes, and who has viewed what."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.errors import Invalid
from core.support_rules import READS, WRITES, in_support_session
from promotions.models import Promotion, ReviewComment
from promotions.planning.documents import read_plan
from promotions.rows import get_promotion
from tenants.api import caller, visit_for_object
from tenants.pages import Visit
from tenants.scope import tenant_scope

from . import comments, viewed
from .reading import comments_of, marks_of
from .schemas import (
    CommentAnswer,
    CommentChangeIn,
    CommentIn,
    CommentsAnswer,
    DeletedAnswer,
    ViewedAnswer,
    ViewedIn,
    comment_row,
    mark_row,
)

router = Router()


@in_support_session(READS)
@router.get("/promotions/{promotion_id}/comments", response=CommentsAnswer, summary="Comments on a promotion's changes")
def list_comments(request: HttpRequest, promotion_id: uuid.UUID, workflow_key: str = "") -> dict[str, Any]:
    """Oldest first; with ``workflow_key`` those of one workflow."""
    visit, promotion = _found(request, promotion_id)
    with tenant_scope(visit.tenant.pk):
        rows = comments_of(promotion.pk, workflow_key=workflow_key)
    return {"comments": [comment_row(row) for row in rows], "unresolved": sum(not row.resolved_at for row in rows)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/comments", response={201: CommentAnswer}, summary="Comment on a workflow or a node"
)
def add_comment(request: HttpRequest, promotion_id: uuid.UUID, payload: CommentIn) -> Any:
    visit, promotion = _found(request, promotion_id)
    made = comments.add(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        workflow_key=payload.workflow_key,
        node=payload.node,
        text=payload.text,
        by=caller(request),
    )
    return Status(201, {"comment": _row(visit, made.pk)})


@in_support_session(WRITES)
@router.patch(
    "/promotions/{promotion_id}/comments/{comment_id}",
    response=CommentAnswer,
    summary="Change one's own comment, or resolve any",
)
def change_comment(
    request: HttpRequest, promotion_id: uuid.UUID, comment_id: uuid.UUID, payload: CommentChangeIn
) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    if payload.text is None and payload.resolved is None:
        raise Invalid("Nothing is to be changed.", recovery="Send `text`, `resolved` or both.")
    where = {"tenant_id": visit.tenant.pk, "promotion_id": promotion.pk, "comment_id": comment_id}
    if payload.text is not None:
        comments.edit(**where, text=payload.text, by=caller(request))
    if payload.resolved is not None:
        comments.set_resolved(**where, resolved=payload.resolved, by=caller(request))
    return {"comment": _row(visit, comment_id)}


@in_support_session(WRITES)
@router.delete(
    "/promotions/{promotion_id}/comments/{comment_id}", response=DeletedAnswer, summary="Delete one's own comment"
)
def delete_comment(request: HttpRequest, promotion_id: uuid.UUID, comment_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    comments.delete(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, comment_id=comment_id, by=caller(request))
    return {"deleted": comment_id}


@in_support_session(READS)
@router.get("/promotions/{promotion_id}/viewed", response=ViewedAnswer, summary="Who has viewed which workflow")
def list_viewed(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    """Marks that hold: what was viewed is what is planned."""
    visit, promotion = _found(request, promotion_id)
    return _viewed(visit, promotion)


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/viewed", response=ViewedAnswer, summary="Mark a workflow as viewed, or not")
def mark_viewed(request: HttpRequest, promotion_id: uuid.UUID, payload: ViewedIn) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    viewed.set_viewed(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        workflow_key=payload.workflow_key,
        viewed=payload.viewed,
        by=caller(request),
    )
    return _viewed(visit, promotion)


def _found(request: HttpRequest, promotion_id: uuid.UUID) -> tuple[Visit, Promotion]:
    visit = visit_for_object(request, Promotion, promotion_id)
    return visit, get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)


def _row(visit: Visit, comment_id: uuid.UUID) -> dict[str, Any]:
    with tenant_scope(visit.tenant.pk):
        return comment_row(ReviewComment.objects.select_related("author", "resolved_by").get(pk=comment_id))


def _viewed(visit: Visit, promotion: Promotion) -> dict[str, Any]:
    items = read_plan(promotion.plan).items
    with tenant_scope(visit.tenant.pk):
        return {"viewed": [mark_row(mark) for mark in marks_of(promotion.pk, items)]}
