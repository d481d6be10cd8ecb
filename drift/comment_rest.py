"""Comments on drift incidents over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.answers import Answer
from core.asked import Asked
from core.support_rules import READS, WRITES, in_support_session
from tenants.api import caller, visit_for_object
from tenants.scope import tenant_scope
from workflows.discussing import comments as discussing
from workflows.discussing.reading import comment_of, comments_of
from workflows.discussing.schemas import CommentChangeIn, DeletedAnswer, SaidOut, said_row

from . import comments, services
from .models import DriftIncident, IncidentComment

router = Router()


class IncidentCommentIn(Asked):
    """``node``: the node that it is about, by its name; left out, the whole workflow."""

    node: str = ""
    text: str


class IncidentCommentOut(SaidOut):
    """A comment on what drifted, or on one node of it."""

    incident_id: uuid.UUID


class IncidentCommentAnswer(Answer):
    comment: IncidentCommentOut


class IncidentCommentsAnswer(Answer):
    comments: list[IncidentCommentOut]
    unresolved: int


@in_support_session(READS)
@router.get(
    "/incidents/{incident_id}/comments", response=IncidentCommentsAnswer, summary="Comments on a drift incident"
)
def list_comments(request: HttpRequest, incident_id: uuid.UUID) -> dict[str, Any]:
    """Oldest first."""
    incident = _found(request, incident_id)
    with tenant_scope(incident.tenant_id):
        rows = comments_of(comments.subject_of(incident))
    return {"comments": [_told(row) for row in rows], "unresolved": sum(not row.resolved_at for row in rows)}


@in_support_session(WRITES)
@router.post(
    "/incidents/{incident_id}/comments",
    response={201: IncidentCommentAnswer},
    summary="Comment on what drifted, or a node of it",
)
def add_comment(request: HttpRequest, incident_id: uuid.UUID, payload: IncidentCommentIn) -> Any:
    incident = _found(request, incident_id)
    made = comments.add(
        tenant_id=incident.tenant_id,
        incident_id=incident.pk,
        node=payload.node,
        text=payload.text,
        by=caller(request),
    )
    return Status(201, _answer(incident, made.pk))


@in_support_session(WRITES)
@router.patch(
    "/incidents/{incident_id}/comments/{incident_comment_id}",
    response=IncidentCommentAnswer,
    summary="Change one's own comment on an incident, or resolve any",
)
def change_comment(
    request: HttpRequest, incident_id: uuid.UUID, incident_comment_id: uuid.UUID, payload: CommentChangeIn
) -> dict[str, Any]:
    incident = _found(request, incident_id)
    discussing.change(
        comments.subject_of(incident),
        comment_id=incident_comment_id,
        text=payload.text,
        resolved=payload.resolved,
        by=caller(request),
    )
    return _answer(incident, incident_comment_id)


@in_support_session(WRITES)
@router.delete(
    "/incidents/{incident_id}/comments/{incident_comment_id}",
    response=DeletedAnswer,
    summary="Delete one's own comment on an incident",
)
def delete_comment(request: HttpRequest, incident_id: uuid.UUID, incident_comment_id: uuid.UUID) -> dict[str, Any]:
    incident = _found(request, incident_id)
    discussing.delete(comments.subject_of(incident), comment_id=incident_comment_id, by=caller(request))
    return {"deleted": incident_comment_id}


def _found(request: HttpRequest, incident_id: uuid.UUID) -> DriftIncident:
    visit = visit_for_object(request, DriftIncident, incident_id)
    return services.incident_by_id(visit.tenant.pk, incident_id)


def _answer(incident: DriftIncident, comment_id: uuid.UUID) -> dict[str, Any]:
    with tenant_scope(incident.tenant_id):
        return {"comment": _told(comment_of(comments.subject_of(incident), comment_id))}


def _told(row: IncidentComment) -> dict[str, Any]:
    return said_row(row) | {"incident_id": row.incident_id}
