"""What the REST API of reviews takes and answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from ninja import Schema

from core.asked import Asked
from promotions.models import ReviewComment, ReviewMark
from workflows.discussing.schemas import SaidOut, said_row


class CommentIn(Asked):
    """``node``: the node that it is about, by its name; left out, the whole workflow."""

    workflow_key: str
    node: str = ""
    text: str


class ViewedIn(Asked):
    """``viewed``: false takes one's own mark away."""

    workflow_key: str
    viewed: bool = True


class CommentOut(SaidOut):
    """A comment on one workflow of the promotion, or on one node of it."""

    promotion_id: uuid.UUID
    workflow_key: str


class CommentAnswer(Schema):
    comment: CommentOut


class CommentsAnswer(Schema):
    comments: list[CommentOut]
    unresolved: int


class ViewedOut(Schema):
    """A mark that holds: both contents are still those that were viewed."""

    workflow_key: str
    reviewer: str
    viewed_at: datetime


class ViewedAnswer(Schema):
    viewed: list[ViewedOut]


def comment_row(row: ReviewComment) -> dict[str, Any]:
    """A comment as the API tells it."""
    return said_row(row) | {"promotion_id": row.promotion_id, "workflow_key": row.workflow_key}


def mark_row(row: ReviewMark) -> dict[str, Any]:
    """A mark as the API tells it."""
    return {"workflow_key": row.workflow_key, "reviewer": row.reviewer.email, "viewed_at": row.created_at}
