"""What a session is begun with: who works as whom, why, and through which sign-in or token."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from tenants.models import Tenant, User


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """Through what a session is begun: a browser's sign-in or a token, never both."""

    sign_in: str = ""
    token_id: uuid.UUID | None = None
    browser: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """Who works as whom, in which tenant, why, and through what."""

    actor: User
    target: User
    tenant: Tenant
    reason: str
    ticket: str
    origin: RequestOrigin


def digest(text: str) -> str:
    """SHA-256 of a sign-in's key or a browser's cookie, as it is stored; '' for ''."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
