"""A tenant's guards: which ways lead into production, whose approval counts, and what waits for a second person.

Whether a change lowers a guard is pure; ``guard_changes`` makes the changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from core import clock
from core.errors import NotFound
from tenants.models import Membership, User
from tenants.scope import tenant_scope

from . import guard_mail
from .models import ApprovalPolicy, Environment, EnvironmentKind, GuardChange, GuardKind
from .models.guards import CHANGE_LIFE

# -- the order of environments ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """An environment in the tenant's order. ``counts``: it has been captured, so content can have been approved."""

    id: uuid.UUID
    name: str
    position: int
    kind: str
    is_archived: bool = False
    counts: bool = True

    @property
    def is_guarded(self) -> bool:
        return self.kind == EnvironmentKind.PRODUCTION


def places() -> list[Place]:
    """The tenant's environments. Needs its scope."""
    return [
        Place(row.pk, row.name, row.position, row.kind, row.is_archived, row.last_captured_at is not None)
        for row in Environment.objects.order_by("position", "name")
    ]


def between(source: Place, target: Place, known: Collection[Place]) -> list[Place]:
    """The environments that a promotion from source to target leaves out."""
    return [p for p in known if not p.is_archived and source.position < p.position < target.position]


def may_promote(source: Place, target: Place, known: Collection[Place]) -> bool:
    """Whether the way follows the order: forward without leaving one out; back only where nothing is guarded."""
    if source.position > target.position:
        return not target.is_guarded
    return not between(source, target, known)


def lowers(known: Collection[Place], changed: Place) -> bool:
    """Whether a guarded environment would stop being guarded, or be reached by a way that was closed."""
    now = {place.id: place for place in known if not place.is_archived}
    was = now.get(changed.id)
    if was is not None and was.is_guarded and was.counts and not changed.is_guarded:
        return True
    then = {**now, changed.id: changed}
    return any(
        may_promote(then[source.id], then[target.id], then.values()) and not may_promote(source, target, now.values())
        for target in now.values()
        if target.is_guarded and target.counts and not then[target.id].is_archived
        for source in now.values()
        if source.id != target.id and not then[source.id].is_archived
    )


def would_lower(environment: Environment, wanted: Mapping[str, Any]) -> bool:
    """Whether these fields of the environment would lower a guard. Needs the tenant's scope."""
    known = places()
    place = next(place for place in known if place.id == environment.pk)
    return lowers(known, replace(place, **wanted))


# -- the policy -------------------------------------------------------------------------------------------------------


def policy_of(tenant_id: uuid.UUID) -> ApprovalPolicy:
    """The tenant's policy, with the defaults where none is set. Needs its scope."""
    return ApprovalPolicy.objects.filter(tenant_id=tenant_id).first() or ApprovalPolicy(tenant_id=tenant_id)


def forbid_jumps(*, tenant_id: uuid.UUID) -> None:
    """Promotions follow the order again; nobody else has to agree to that."""
    with tenant_scope(tenant_id):
        save_policy(tenant_id, allows_jumps=False)


def forbid_account(*, tenant_id: uuid.UUID, account_id: uuid.UUID) -> None:
    """A service account's approval counts no longer."""
    with tenant_scope(tenant_id):
        left = [found for found in policy_of(tenant_id).approving_accounts if found != account_id]
        save_policy(tenant_id, approving_accounts=left)


def save_policy(tenant_id: uuid.UUID, **values: Any) -> None:
    ApprovalPolicy.objects.update_or_create(tenant_id=tenant_id, defaults=values)


# -- changes that wait for a second person ----------------------------------------------------------------------------


def ask_for_environment(*, environment: Environment, wanted: Mapping[str, Any], by: User) -> GuardChange:
    """Ask for other fields of an environment. An earlier question about the same environment is withdrawn."""
    return _ask(environment.tenant_id, by, kind=GuardKind.ENVIRONMENT, environment=environment, wanted=dict(wanted))


def ask_for_jumps(*, tenant_id: uuid.UUID, by: User) -> GuardChange | None:
    """Ask that promotions may leave environments out; None where they may already."""
    with tenant_scope(tenant_id):
        if policy_of(tenant_id).allows_jumps:
            return None
    return _ask(tenant_id, by, kind=GuardKind.JUMPS)


def ask_for_account(*, tenant_id: uuid.UUID, account_id: uuid.UUID, by: User) -> GuardChange | None:
    """Ask that a service account's approval counts; None where it does already.

    Raises ``NotFound`` where it is none of the tenant's.
    """
    with tenant_scope(tenant_id):
        member = Membership.objects.select_related("user").filter(user_id=account_id, user__is_service=True).first()
        if member is None:
            raise NotFound("There is no such service account here.")
        if account_id in policy_of(tenant_id).approving_accounts:
            return None
        return _ask(tenant_id, by, kind=GuardKind.ACCOUNT, account=member.user)


def _ask(tenant_id: uuid.UUID, by: User, **about: Any) -> GuardChange:
    with tenant_scope(tenant_id):
        now = clock.now()
        _one_question_at_a_time(tenant_id)
        _withdraw({name: value for name, value in about.items() if name != "wanted"}, now)
        change = GuardChange.objects.create(
            tenant_id=tenant_id, requested_by=by, created_at=now, expires_at=now + CHANGE_LIFE, **about
        )
        guard_mail.waits(change)
        return change


def _one_question_at_a_time(tenant_id: uuid.UUID) -> None:
    """Two who ask at the same moment come one after the other, so that the later question withdraws the earlier."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('guards:' || %s, 0))", [str(tenant_id)])


def _withdraw(about: Mapping[str, Any], now: datetime) -> None:
    GuardChange.objects.filter(**about, approved=None, expires_at__gt=now).update(expires_at=now)


def waiting(*, environment_id: uuid.UUID | None = None) -> list[GuardChange]:
    """The changes that wait for a second person; of one environment where it is given. Needs the tenant's scope."""
    rows = GuardChange.objects.select_related("environment", "account", "requested_by").filter(
        approved=None, expires_at__gt=clock.now()
    )
    return list(rows.filter(environment_id=environment_id) if environment_id else rows[:50])
