"""Differences to what is approved that people have accepted, as the apps above know of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from core.declarations import AcceptedDifference
from core.registry import registry


def accepted() -> Mapping[uuid.UUID, AcceptedDifference]:
    """By mapping; what has changed since it was accepted is not among them. Needs the tenant's scope."""
    return {map_id: found for source in registry.acceptance_sources() for map_id, found in source.find().items()}


def in_words(found: AcceptedDifference) -> str:
    """Since when and by whom, and until when it holds."""
    who = f" by {found.by}" if found.by else ""
    return f"accepted{who} on {found.since:%d %b %Y}, until it changes again"
