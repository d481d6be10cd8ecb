"""A target that is neither wholly new nor proven to be as before: its promotion says so, and holds it.

``needs_attention`` in the result is for those who read it, ``attention_since`` for those who ask whether a target is
held: no promotion writes into it until this one is rolled back, or a person has looked and lets go of it
(``services.release``). Restoring and stabilizing stay possible, for they are ways out.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from promotions.models import Promotion


def since(result: Mapping[str, Any], now: datetime) -> datetime | None:
    """What ``attention_since`` is to be with this result, as of ``now``."""
    return now if result.get("needs_attention") else None


def holder_of(target_id: uuid.UUID, *, own: uuid.UUID | None = None) -> Promotion | None:
    """The latest promotion that needs attention and so holds a target, ``own`` left out. Needs the tenant's scope."""
    rows = Promotion.objects.filter(target_environment_id=target_id, attention_since__isnull=False)
    others = rows.exclude(pk=own) if own is not None else rows
    return others.only("id", "name", "attention_since").order_by("-attention_since").first()
