"""Tenants over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from core.asked import Asked
from core.errors import Forbidden
from core.paging import by_name, clamp
from core.support_rules import NEVER, READS, in_support_session

from . import people
from .api import caller
from .models import ApiToken, Tenant
from .permissions import is_platform_admin
from .requests import token_of
from .schemas import AdminRemoved, NewTokenAnswer, TenantList, TokenAnswer, TokenEnded
from .scope import platform_scope
from .tokens import revoke_token, rotate_token

router = Router()


@in_support_session(READS)
@router.get("/tenants", response=TenantList, summary="The tenants the caller may see")
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


class Rotation(Asked):
    keep_old_hours: int = 0


@in_support_session(NEVER)
@router.get("/tokens/current", response=TokenAnswer, summary="The token that asks")
def show_token(request: HttpRequest) -> dict[str, Any]:
    with platform_scope():
        return {"token": _token(token_of(request))}


@in_support_session(NEVER)
@router.post("/tokens/current/rotate", response={201: NewTokenAnswer}, summary="A new secret for the token that asks")
def rotate(request: HttpRequest, given: Rotation, response: HttpResponse) -> Status[dict[str, Any]]:
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
@router.delete("/tokens/current", response=TokenEnded, summary="End the token that asks")
def end_token(request: HttpRequest) -> dict[str, Any]:
    token = token_of(request)
    with platform_scope():
        revoke_token(token_id=str(token.pk), tenant=token.tenant)
    return {"revoked": str(token.pk)}


@in_support_session(NEVER)
@router.delete("/platform/admins/{user_id}", response=AdminRemoved, summary="Remove a platform admin")
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
