"""Tenants over REST."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status

from core.errors import Forbidden
from core.paging import by_name, clamp
from core.support_rules import NEVER, READS, in_support_session

from . import people
from .api import caller
from .models import ApiToken, Tenant
from .permissions import is_platform_admin
from .requests import token_of
from .scope import platform_scope
from .tokens import revoke_token, rotate_token

router = Router()


class Rotation(Schema):
    keep_old_hours: int = 0


class TenantRow(Schema):
    id: str
    name: str
    slug: str
    status: str
    created_at: datetime


class Tenants(Schema):
    tenants: list[TenantRow]
    next_cursor: str | None


class TokenRow(Schema):
    """``tenant`` is a slug; without one the token reaches all tenants of the person that it acts as."""

    id: str
    name: str
    prefix: str
    acts_as: str
    tenant: str | None
    permissions: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class OneToken(Schema):
    token: TokenRow


class NewToken(OneToken):
    secret: str


class RevokedToken(Schema):
    revoked: str


class RemovedAdmin(Schema):
    removed: str
    email: str


@in_support_session(READS)
@router.get("/tenants", summary="The tenants the caller may see", response=Tenants)
def list_tenants(request: HttpRequest, limit: int = 50, cursor: str = "") -> dict[str, Any]:
    user = caller(request)
    bound_to = token_of(request).tenant_id
    with platform_scope():
        rows = Tenant.objects.all()
        if not is_platform_admin(user):
            rows = rows.filter(pk__in=user.memberships.values("tenant_id"))
        if bound_to is not None:
            rows = rows.filter(pk=bound_to)
        page = by_name(rows, cursor=cursor, limit=clamp(limit))
    return {
        "tenants": [
            {"id": str(t.pk), "name": t.name, "slug": t.slug, "status": t.status, "created_at": t.created_at}
            for t in page.rows
        ],
        "next_cursor": page.next_cursor or None,
    }


def _token(token: ApiToken) -> dict[str, Any]:
    return {
        "id": str(token.pk),
        "name": token.name,
        "prefix": token.prefix,
        "acts_as": token.user.email,
        "tenant": token.tenant.slug if token.tenant else None,
        "permissions": token.permissions,
        "created_at": token.created_at,
        "last_used_at": token.last_used_at,
        "expires_at": token.expires_at,
    }


@in_support_session(NEVER)
@router.get("/tokens/current", summary="The token that asks", response=OneToken)
def show_token(request: HttpRequest) -> dict[str, Any]:
    with platform_scope():
        return {"token": _token(token_of(request))}


@in_support_session(NEVER)
@router.post("/tokens/current/rotate", summary="A new secret for the token that asks", response={201: NewToken})
def rotate(request: HttpRequest, given: Rotation, response: HttpResponse) -> Any:
    """The new secret is shown once. The old one is refused at once, or after ``keep_old_hours`` (at most 72)."""
    with platform_scope():
        made, secret = rotate_token(
            token=token_of(request),
            by=caller(request),
            keep_old_hours=given.keep_old_hours,
        )
        response["Cache-Control"] = "no-store"
        return Status(201, {"token": _token(made), "secret": secret})


@in_support_session(NEVER)
@router.delete("/tokens/current", summary="End the token that asks", response=RevokedToken)
def end_token(request: HttpRequest) -> dict[str, Any]:
    token = token_of(request)
    with platform_scope():
        revoke_token(token_id=str(token.pk), tenant=token.tenant)
    return {"revoked": str(token.pk)}


@in_support_session(NEVER)
@router.delete("/platform/admins/{user_id}", summary="Take somebody off the platform admins", response=RemovedAdmin)
def remove_platform_admin(request: HttpRequest, user_id: uuid.UUID) -> dict[str, Any]:
    """The person's sign-ins and tokens end with it. Needs an unbound token of another platform admin."""
    by = caller(request)
    token = token_of(request)
    if not is_platform_admin(by) or token.tenant_id is not None or token.permissions:
        raise Forbidden(
            "Only platform admins do this.", recovery="Use a token of a platform admin that is bound to no tenant."
        )
    person = people.get_person(user_id)
    people.remove_platform_admin(user=person, by=by)
    return {"removed": str(person.pk), "email": person.email}
