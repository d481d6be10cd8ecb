"""What can be done for a whole tenant when its secrets may have leaked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from audit.models import AuditLog
from audit.selectors import newest_first
from audit.services import record_event
from core import clock, context
from tenants import people
from tenants.models import ApiToken, PlatformAdmin, Tenant, User, UserSession
from tenants.scope import platform_scope

from . import selectors, services

END_SESSIONS, REVOKE_TOKENS, SIGN_OUT, RESET = "end-sessions", "revoke-tokens", "sign-out", "reset-credentials"
ACTS = (REVOKE_TOKENS, SIGN_OUT, RESET, END_SESSIONS)
#: What an owner may do: it affects nothing beyond the tenant. People and their own tokens may belong to others too.
ACTS_OF_OWNERS = (REVOKE_TOKENS, END_SESSIONS)
NAMED = 12


@dataclass(frozen=True, slots=True)
class Affected:
    """Whom or what an act would affect: counts by noun, and the first names (at most ``NAMED``)."""

    counts: dict[str, int]
    names: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def unnamed(self) -> int:
        """How many more there are than are named."""
        return max(0, next(iter(self.counts.values())) - len(self.names))


def affected(*, tenant: Tenant, what: str, as_owner: bool = False) -> Affected:
    """What one of ``ACTS`` would affect now."""
    with platform_scope():
        if what == END_SESSIONS:
            live = selectors.sessions().filter(impersonated_tenant=tenant, ended_at=None, expires_at__gt=clock.now())
            names = [f"{row.actor_user} as {row.impersonated_user}" for row in live[:NAMED]]
            return Affected({"support session": live.count()}, tuple(names))
        if what == REVOKE_TOKENS:
            tokens = _tokens(tenant, as_owner=as_owner)
            names = [f"{token.name}, of {token.user}" for token in tokens.select_related("user")[:NAMED]]
            return Affected({"token": tokens.count()}, tuple(names))
        members = _members(tenant).filter(is_service=False) if what == RESET else _members(tenant)
        sign_ins = UserSession.objects.filter(user__in=members, expire_date__gt=clock.now())
        if what == SIGN_OUT:
            users = members.filter(pk__in=sign_ins.values("user")).order_by("email")
            return Affected({"person": users.count(), "sign-in": sign_ins.count()}, _named(users))
        counts = {"person": members.count(), "sign-in": sign_ins.count(), "token": _tokens(tenant).count()}
        return Affected(counts, _named(members.order_by("email")))


def act(*, tenant: Tenant, what: str, by: User, reason: str = "", as_owner: bool = False) -> str:
    """Carry out one of ``ACTS`` in one transaction with its record. Returns what was done, as a sentence."""
    with context.acting(actor_id=by.pk), platform_scope():
        if what == END_SESSIONS:
            counts = {"support sessions": services.end_all(by=by, reason=reason or _ENDED, tenant=tenant)}
            message = f"{_many(counts['support sessions'], 'support session')} in {tenant.name} ended."
        elif what == REVOKE_TOKENS:
            counts = {"tokens": revoke_tokens(tenant, as_owner=as_owner)}
            message = f"{_many(counts['tokens'], 'token')} of {tenant.name} revoked."
        elif what == SIGN_OUT:
            counts = {"sign-ins": _sign_out(_members(tenant), by, "tenant signed out")}
            message = f"{_many(counts['sign-ins'], 'sign-in')} of people in {tenant.name} ended."
        else:
            counts = _reset(tenant, by)
            who = f"{counts['people']} people of {tenant.name}"
            message = f"{who} must choose a new password; their sign-ins and tokens ended."
        details = {"what": what, "reason": reason, "count": next(iter(counts.values())), **counts}
        record_event(
            action="TENANT_EMERGENCY",
            resource_type="tenants",
            resource_id=tenant.pk,
            tenant_id=tenant.pk,
            name=tenant.name,
            details=details,
        )
    return message


def acts_of(*, tenant: Tenant, limit: int = 10) -> list[AuditLog]:
    """The last of these acts in the trail, newest first."""
    with platform_scope():
        return newest_first(AuditLog.objects.filter(action="TENANT_EMERGENCY", tenant_id=tenant.pk), limit=limit).rows


_ENDED = "ended for the whole tenant"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _named(users: QuerySet[User]) -> tuple[str, ...]:
    return tuple(str(user) for user in users[:NAMED])


def _members(tenant: Tenant) -> QuerySet[User]:
    """People of the tenant, without platform admins: those are for the platform to reset."""
    return User.objects.filter(memberships__tenant=tenant).exclude(pk__in=PlatformAdmin.objects.values("user_id"))


def _tokens(tenant: Tenant, *, as_owner: bool = False) -> QuerySet[ApiToken]:
    """Live tokens bound to the tenant and, unless an owner acts, the unbound ones of its people."""
    of_people = Q() if as_owner else Q(tenant=None, user__in=_members(tenant))
    return ApiToken.objects.filter(Q(tenant=tenant) | of_people, revoked_at=None)


def revoke_tokens(tenant: Tenant, *, as_owner: bool = False) -> int:
    """Revoke those tokens. Returns how many."""
    with platform_scope():
        return _tokens(tenant, as_owner=as_owner).update(revoked_at=clock.now())


def _sign_out(users: Iterable[User], by: User, why: str) -> int:
    return sum(people.end_sign_ins(user=user, by=by, why=why) for user in users)


def _reset(tenant: Tenant, by: User) -> dict[str, int]:
    tokens = revoke_tokens(tenant)
    members = list(_members(tenant).filter(is_service=False))
    for user in members:
        user.set_unusable_password()
        User.objects.filter(pk=user.pk).update(password=user.password, updated_at=clock.now())
    return {"people": len(members), "tokens": tokens, "sign-ins": _sign_out(members, by, "credentials reset")}
