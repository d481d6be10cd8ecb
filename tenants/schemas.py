"""Tenants and tokens as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime

from core.answers import Answer, PageAnswer


class TenantOut(Answer):
    id: uuid.UUID
    name: str
    slug: str
    status: str
    created_at: datetime


class TenantList(PageAnswer):
    tenants: list[TenantOut]


class TokenOut(Answer):
    """``tenant`` is a short name; null: bound to none. Empty ``permissions``: all that its account may do."""

    id: uuid.UUID
    name: str
    prefix: str
    acts_as: str
    tenant: str | None
    permissions: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class TokenAnswer(Answer):
    token: TokenOut


class NewTokenAnswer(TokenAnswer):
    """``secret`` is shown this once."""

    secret: str


class TokenEnded(Answer):
    revoked: uuid.UUID


class AdminRemoved(Answer):
    removed: uuid.UUID
    email: str
