"""Ids as they come in from outside."""

from __future__ import annotations

import uuid

from .errors import NotFound


def uuid_or_none(text: str) -> uuid.UUID | None:
    """The id that a text is, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def uuid_or_not_found(value: uuid.UUID | str) -> uuid.UUID:
    """The id that a value is; ``NotFound`` for what is none, as for an id of nothing."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(str(value))
    except ValueError as error:
        raise NotFound from error
