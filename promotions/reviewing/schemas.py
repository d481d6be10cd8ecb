"""What the REST API of reviews takes and answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from ninja import Schema

from core.asked import Asked
from promotions.models import ReviewComment, ReviewMark


class CommentIn(Asked):
    """``node``: the node that it is about, by its name; left out, the whole workflow."""

    workflow_key: str
    node: str = ""
    text: str


class CommentChangeIn(Asked):
    """``text``: one's own words, put differently. ``resolved``: whether it is settled. Either may be left out."""

    text: str | None = None
    resolved: bool | None = None


class ViewedIn(Asked):
    """``viewed``: false takes one's own mark away."""

    workflow_key: str
    viewed: bool = True


class CommentOut(Schema):
    """``before_hash`` and ``after_hash`` are the contents that were compared when it was said."""

    id: uuid.UUID
    promotion_id: uuid.UUID
    workflow_key: str
    node: str
    text: str
    author: str | None
    created_at: datetime
    edited_at: datetime | None
    resolved: bool
    resolved_by: str | None
    resolved_at: datetime | None
    before_hash: str
    after_hash: str


class CommentAnswer(Schema):
    comment: CommentOut


class DeletedAnswer(Schema):
    """``deleted``: the id of what is gone."""

    deleted: uuid.UUID


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
    return {
        "id": row.pk,
        "promotion_id": row.promotion_id,
        "workflow_key": row.workflow_key,
        "node": row.node,
        "text": row.text,
        "author": row.author.email if row.author else None,
        "created_at": row.created_at,
        "edited_at": row.edited_at,
        "resolved": row.resolved_at is not None,
        "resolved_by": row.resolved_by.email if row.resolved_by else None,
        "resolved_at": row.resolved_at,
        "before_hash": row.before_hash,
        "after_hash": row.after_hash,
    }


def mark_row(row: ReviewMark) -> dict[str, Any]:
    """A mark as the API tells it."""
    return {"workflow_key": row.workflow_key, "reviewer": row.reviewer.email, "viewed_at": row.created_at}
