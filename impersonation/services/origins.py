"""Through what a session is begun."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """Through what a session is begun: a browser's sign-in or a token, never both."""

    sign_in: str = ""
    token_id: uuid.UUID | None = None
    browser: str = ""


def digest(text: str) -> str:
    """What is stored of a sign-in's key or a browser's mark."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
