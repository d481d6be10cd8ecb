"""The doors of the console: a view behind ``tenant_page`` runs inside the tenant's scope with the grants checked."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import resolve

from core import support
from core.errors import Forbidden, NotFound
from core.htmx import is_partial

from .models import Grants, PlatformRole, Tenant, User
from .permissions import grants_on_tenant, is_platform_admin, require
from .requests import person_of
from .scope import platform_scope, tenant_scope
from .selectors import tenants_of
from .shell import shell_items

#: No tenant's id.
NOBODYS = uuid.UUID(int=0)
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Visit:
    """Who stands where, with what grants. ``tenant`` is None on the platform's pages.

    ``narrowed_to`` are the grants that a token is narrowed to (None: not at all); ``grants`` are narrowed already.
    """

    user: User
    tenant: Tenant
    grants: frozenset[str]
    is_platform_admin: bool = False
    memberships: tuple[Tenant, ...] = ()
    narrowed_to: frozenset[str] | None = None
    shell: dict[str, Any] = field(default_factory=dict, compare=False)

    def may(self, grant: str) -> bool:
        """Whether the tenant-wide grants hold ``grant``."""
        return grant in self.grants

    def require(self, grant: str) -> None:
        require(self.grants, grant)


def open_visit(
    *,
    user: User,
    tenant: Tenant | None = None,
    slug: str = "",
    tenant_id: uuid.UUID | None = None,
    with_shell: bool = False,
) -> Visit:
    """The visit of a person to a tenant; ``NotFound`` where the tenant does not exist or is not theirs.

    ``with_shell`` also reads what the shell around a page shows (``tenants.shell``).
    """
    session = support.current()
    with platform_scope():
        # In a support session the user is a customer's, never a platform admin, and sees this one tenant.
        admin = session is None and is_platform_admin(user)
        if tenant is None:
            lookup: dict[str, Any] = {"slug": slug} if slug else {"pk": tenant_id}
            tenant = Tenant.objects.filter(**lookup).first()
        # A tenant that does not exist costs the same questions as one that is not theirs: time would tell.
        grants = grants_on_tenant(user_id=user.pk, tenant_id=tenant.pk if tenant else NOBODYS)
        if admin:
            # Seeing every tenant is the platform admin's work; acting in one needs a role there.
            grants |= {Grants.VIEW, Grants.VIEW_TRAIL, Grants.MANAGE_MEMBERS}
        if user.role == PlatformRole.COMPLIANCE_OFFICER:
            grants |= {Grants.VIEW, Grants.VIEW_TRAIL}
        if tenant is None or Grants.VIEW not in grants or (session is not None and tenant.pk != session.tenant_id):
            raise NotFound
        memberships = (tenant,) if session is not None else tuple(tenants_of(user=user))
        shell = shell_items(tenant, user) if with_shell else {}
    return Visit(
        user=user,
        tenant=tenant,
        grants=frozenset(grants),
        is_platform_admin=admin,
        memberships=memberships,
        shell=shell,
    )


def may_open(visit: Visit, url: str) -> bool:
    """Whether a page of the tenant is open to the visitor: a link to any other would only end in a refusal."""
    grant = getattr(resolve(url).func, "tenant_grant", None)
    return grant is None or visit.may(grant)


def tenant_page(
    grant: str = Grants.VIEW,
    *,
    write_grant: str | None = None,
    scope: bool = True,
    methods: tuple[str, ...] = ("GET", "HEAD"),
) -> Callable[..., Callable[..., HttpResponse]]:
    """Guard a view at ``/t/<tenant_slug>/…``; it is called as ``view(request, visit, **kwargs)``.

    ``grant`` is needed to look, ``write_grant`` (default: the same) for other methods than GET. With ``scope=False``
    the view opens ``tenant_scope(visit.tenant.pk)`` itself around its queries: for views that also read Git.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @functools.wraps(view)
        def guarded(request: HttpRequest, tenant_slug: str, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            visit = open_visit(user=person_of(request), slug=tenant_slug, with_shell=not is_partial(request))
            visit.require(grant if request.method in READING else write_grant or grant)
            request.visit = visit  # type: ignore[attr-defined]
            if not scope:
                return view(request, visit, **kwargs)
            with tenant_scope(visit.tenant.pk):
                return view(request, visit, **kwargs)

        guarded.tenant_grant = grant  # type: ignore[attr-defined]
        guarded.write_grant = write_grant or grant  # type: ignore[attr-defined]
        guarded.methods = methods  # type: ignore[attr-defined]
        return guarded

    return decorate


def platform_page(
    *, admins_only: bool = False, scope: bool = True, methods: tuple[str, ...] = ("GET", "HEAD")
) -> Callable[..., Callable[..., HttpResponse]]:
    """Guard a page of the platform; called as ``view(request, **kwargs)`` inside the platform's scope."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @functools.wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            if admins_only and not is_platform_admin(person_of(request)):
                raise Forbidden
            if not scope:
                return view(request, **kwargs)
            with platform_scope():
                return view(request, **kwargs)

        guarded.platform = True  # type: ignore[attr-defined]
        guarded.methods = methods  # type: ignore[attr-defined]
        return guarded

    return decorate
