"""Reads about tenants and people."""

from __future__ import annotations

from django.db.models import Count, Exists, F, OuterRef, Q, Subquery

from core import clock
from core.paging import Page, by_name, by_time

from .environment_grants import grant_provider
from .models import ApiToken, Membership, PlatformAdmin, PlatformRole, Tenant, User, UserSession
from .scope import platform_scope

MEMBERSHIPS_SHOWN = 50
SERVICE_ACCOUNTS_SHOWN = 100
SIGN_INS_SHOWN = 100


def tenants_of(*, user: User, limit: int = MEMBERSHIPS_SHOWN) -> list[Tenant]:
    """The tenants a person belongs to, by name, at most ``limit``. Not to be called inside a tenant's scope."""
    with platform_scope():
        return list(Tenant.objects.filter(pk__in=user.memberships.values("tenant_id")).order_by("name", "pk")[:limit])


def list_members(*, q: str = "", narrow: bool = False, cursor: str = "", limit: int = 50) -> Page:
    """Members of the scope's tenant with their people and ``EnvironmentGrant``s.

    ``narrow`` leaves those who hold any.
    """
    rows = Membership.objects.select_related("user", "created_by").annotate(email=F("user__email"))
    if q:
        rows = rows.filter(Q(user__email__icontains=q) | Q(user__name__icontains=q))
    provider = grant_provider()
    if narrow and provider:
        rows = rows.filter(user_id__in=provider.holders())
    page = by_name(rows, cursor=cursor, limit=limit, field="email")
    held = provider.held_by([member.user_id for member in page.rows]) if provider and page.rows else {}
    for member in page.rows:
        member.narrow = held.get(member.user_id, [])
    return page


def role_counts() -> dict[str, int]:
    """How many members of the scope's tenant have each role."""
    return dict(Membership.objects.order_by().values_list("role").annotate(n=Count("pk")))


def list_tokens(*, user: User, everybody: bool, cursor: str = "", limit: int = 50) -> Page:
    """Tokens of the scope's tenant, newest first: all, or the person's own and those of service accounts."""
    rows = ApiToken.objects.select_related("user", "created_by").filter(tenant__isnull=False)
    if not everybody:
        rows = rows.filter(Q(user=user) | Q(user__is_service=True))
    return by_time(rows, cursor=cursor, limit=limit)


def service_accounts() -> list[Membership]:
    """Machines' accounts of the scope's tenant, by name."""
    rows = Membership.objects.select_related("user").filter(user__is_service=True, user__is_active=True)
    return list(rows.order_by("user__name", "pk")[:SERVICE_ACCOUNTS_SHOWN])


def list_people(*, q: str = "", kind: str = "", cursor: str = "", limit: int = 50) -> Page:
    """People of the whole platform, by e-mail address, with how many tenants they belong to. Platform scope."""
    rows = User.objects.annotate(
        tenant_count=Count("memberships"), is_platform_admin=Exists(PlatformAdmin.objects.filter(user=OuterRef("pk")))
    )
    if q:
        rows = rows.filter(Q(email__icontains=q) | Q(name__icontains=q))
    if kind == "admins":
        rows = rows.filter(is_platform_admin=True)
    elif kind == "service":
        rows = rows.filter(is_service=True)
    elif kind == "inactive":
        rows = rows.filter(is_active=False)
    elif kind in PlatformRole.values:
        rows = rows.filter(role=kind, is_service=False)
    return by_name(rows, cursor=cursor, limit=limit, field="email")


def list_tenants(*, q: str = "", cursor: str = "", limit: int = 50) -> Page:
    """Every tenant by name, with its number of members. Platform scope."""
    rows = Tenant.objects.annotate(
        member_count=Subquery(
            Membership.objects.filter(tenant=OuterRef("pk"))
            .order_by()
            .values("tenant")
            .annotate(n=Count("pk"))
            .values("n")
        )
    )
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    return by_name(rows, cursor=cursor, limit=limit)


def sign_ins(user: User) -> list[UserSession]:
    """A person's live sign-ins, last seen first."""
    rows = UserSession.objects.filter(user=user, expire_date__gt=clock.now()).defer("session_data")
    return list(rows.order_by(F("last_seen_at").desc(nulls_last=True), "-created_at")[:SIGN_INS_SHOWN])


def personal_tokens(user: User) -> list[ApiToken]:
    """A person's live tokens wherever they are bound to, newest first. Not to be called inside a tenant's scope."""
    with platform_scope():
        rows = ApiToken.objects.select_related("tenant").filter(user=user, revoked_at=None)
        return list(rows.order_by("-created_at")[:SIGN_INS_SHOWN])
