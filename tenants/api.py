"""The doors of the REST API: who calls, and what may this caller do in the tenant that an object belongs to."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import models
from django.http import HttpRequest
from ninja.security import HttpBearer

from core import context
from core.errors import NotFound
from core.ids import uuid_or_none, uuid_or_not_found
from core.pacing import known_as

from .models import ApiToken, Grants, PlatformRole, Tenant, User
from .pages import NOBODYS, Visit, open_visit
from .requests import token_of
from .scope import platform_scope
from .tokens import TokenRefused, authenticate_slowly

#: Asked for each token of a member of staff; may answer another in its place (support sessions do).
TokenCheck = Callable[[HttpRequest, ApiToken], ApiToken]
_token_checks: list[TokenCheck] = []


def register_token_check(check: TokenCheck) -> TokenCheck:
    """Add a check; registering one twice has no effect."""
    if check not in _token_checks:
        _token_checks.append(check)
    return check


class BearerToken(HttpBearer):
    """``Authorization: Bearer <token>``; the person behind it becomes the actor of the request."""

    def __call__(self, request: HttpRequest) -> Any:
        header = request.headers.get("Authorization", "")
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise TokenRefused
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken:
        found = authenticate_slowly(token)
        known_as(request, f"program {found.user_id}")
        request.user = found.user
        # The middleware resets the context when the request ends.
        context.set_current(replace(context.current(), actor_id=found.user_id, source="api"))
        if found.user.is_staff or found.user.role == PlatformRole.SUPPORT:
            for check in _token_checks:
                found = check(request, found)
        return found


def caller(request: HttpRequest) -> User:
    """The person behind the token."""
    return token_of(request).user


def visit_for(
    request: HttpRequest,
    *,
    grant: str = Grants.VIEW,
    tenant_id: uuid.UUID | str | None = None,
    tenant_slug: str = "",
) -> Visit:
    """The caller's visit to a tenant with ``grant`` checked; ``NotFound`` where it is not theirs to see.

    ``tenant_id`` may also be a slug, as people type it.
    """
    token = token_of(request)
    lookup = uuid_or_none(str(tenant_id)) if tenant_id is not None else None
    if tenant_id is not None and lookup is None:
        tenant_slug = str(tenant_id)
    if lookup is None and not tenant_slug:
        raise NotFound
    visit = open_visit(user=token.user, tenant_id=lookup, slug=tenant_slug)
    if token.tenant_id is not None and token.tenant_id != visit.tenant.pk:
        raise NotFound
    if token.permissions:
        narrowed = frozenset({Grants.VIEW, *token.permissions})
        visit = replace(visit, grants=visit.grants & narrowed, narrowed_to=narrowed)
    visit.require(grant)
    return visit


def visit_for_object(
    request: HttpRequest, model: type[models.Model], pk: uuid.UUID | str, *, grant: str = Grants.VIEW
) -> Visit:
    """The caller's visit to the tenant that the object belongs to. A foreign id answers as a missing one."""
    with platform_scope():
        tenant_id = model._default_manager.filter(pk=uuid_or_not_found(pk)).values_list("tenant_id", flat=True).first()
    return visit_for(request, grant=grant, tenant_id=tenant_id or NOBODYS)


def only_tenant(request: HttpRequest) -> Tenant | None:
    """The tenant that the token is bound to, if it is."""
    token = token_of(request)
    if token.tenant_id is None:
        return None
    with platform_scope():
        return Tenant.objects.get(pk=token.tenant_id)
