"""Changes of environments and approval rules: made at once, or once a second person agrees where they lower a guard."""

from __future__ import annotations

import uuid
from typing import Any, TypedDict, Unpack

from core import clock
from core.errors import NotFound
from tenants.models import User
from tenants.persons import are_one_person
from tenants.scope import tenant_scope

from . import guard_mail, services
from .errors import EnvironmentInvalid, GuardChangeOver, OwnGuardChange
from .guards import ask_for_environment, policy_of, save_policy, would_lower
from .models import Environment, EnvironmentKind, GuardChange, GuardKind


class EnvironmentValues(TypedDict, total=False):
    """What people change of an environment; None leaves it as it is."""

    name: str | None
    kind: str | None
    base_url: str | None
    api_key: str | None
    position: int | None


def change_environment(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, by: User, **values: Unpack[EnvironmentValues]
) -> Environment:
    """``services.update_environment``; kind and place wait for a second person where they lower a guard.

    What waits is told by ``guards.waiting``.
    """
    with tenant_scope(tenant_id):
        environment = Environment.objects.select_for_update().filter(pk=environment_id).first()
        if environment is None:
            raise NotFound
        held = _held_back(environment, values)
        now: dict[str, Any] = {name: value for name, value in values.items() if name not in held}
        changed = services.update_environment(tenant_id=tenant_id, environment_id=environment_id, **now)
        if held:
            ask_for_environment(environment=changed, wanted=held, by=by)
        return changed


def _held_back(environment: Environment, values: EnvironmentValues) -> dict[str, Any]:
    kind, position = values.get("kind"), values.get("position")
    if kind is not None and kind not in EnvironmentKind.values:
        raise EnvironmentInvalid(details={"kind": [f"One of {', '.join(EnvironmentKind.values)}."]})
    asked = {"kind": kind, "position": position}
    wanted = {name: value for name, value in asked.items() if value not in (None, getattr(environment, name))}
    return wanted if wanted and would_lower(environment, wanted) else {}


def archive_environment(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, by: User) -> Environment:
    """``services.archive_environment``; waits for a second person where a way into production would open."""
    with tenant_scope(tenant_id):
        environment = Environment.objects.select_for_update().filter(pk=environment_id).first()
        if environment is None:
            raise NotFound
        wanted = {"is_archived": True}
        if not would_lower(environment, wanted):
            return services.archive_environment(tenant_id=tenant_id, environment_id=environment_id)
        ask_for_environment(environment=environment, wanted=wanted, by=by)
        return environment


def answer(*, tenant_id: uuid.UUID, change_id: uuid.UUID, by: User, approve: bool) -> GuardChange:
    """Agree to a change, which is made at once, or decline it.

    Raises ``OwnGuardChange`` where whoever agrees is the one who asked, under any account, or a machine;
    ``GuardChangeOver`` and ``NotFound``.
    """
    with tenant_scope(tenant_id):
        rows = GuardChange.objects.select_for_update(of=("self",)).select_related("environment", "account")
        change = rows.filter(pk=change_id).first()
        if change is None:
            raise NotFound
        if change.approved is not None or change.expires_at <= clock.now():
            raise GuardChangeOver
        if approve and (by.is_service or are_one_person([by.pk], [change.requested_by_id])):
            raise OwnGuardChange
        change.approved, change.decided_by, change.decided_at = approve, by, clock.now()
        change.save(update_fields=["approved", "decided_by", "decided_at"])
        if approve:
            _carry_out(change)
        if by.pk != change.requested_by_id:
            guard_mail.answered(change, by=by)
        return change


def _carry_out(change: GuardChange) -> None:
    if change.environment_id is not None:
        _change_environment(change.tenant_id, change.environment_id, change.wanted)
    elif change.kind == GuardKind.JUMPS:
        save_policy(change.tenant_id, allows_jumps=True)
    elif change.account_id is not None:
        held = policy_of(change.tenant_id).approving_accounts
        save_policy(change.tenant_id, approving_accounts=sorted({*held, change.account_id}, key=str))


def _change_environment(tenant_id: uuid.UUID, environment_id: uuid.UUID, wanted: dict[str, Any]) -> None:
    if wanted.get("is_archived"):
        services.archive_environment(tenant_id=tenant_id, environment_id=environment_id)
    else:
        services.update_environment(tenant_id=tenant_id, environment_id=environment_id, **wanted)
