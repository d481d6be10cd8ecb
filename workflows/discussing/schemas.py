"""What the APIs of comments have in common."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from core.answers import Answer
from core.asked import Asked
from workflows.models import Comment


class CommentChangeIn(Asked):
    """``text``: one's own words, put differently. ``resolved``: whether it is settled. Either may be left out."""

    text: str | None = None
    resolved: bool | None = None


class SaidOut(Answer):
    """``before_hash`` and ``after_hash`` are the contents that were compared when it was said."""

    id: uuid.UUID
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


class DeletedAnswer(Answer):
    """``deleted``: the id of what is gone."""

    deleted: uuid.UUID


def said_row(row: Comment) -> dict[str, Any]:
    """What every API tells of a comment: ``SaidOut``."""
    return {
        "id": row.pk,
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
