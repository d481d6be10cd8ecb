"""Starting a revert: who may, when, and of what."""

from __future__ import annotations

from collections.abc import Collection

from audit.services import record_event
from core import clock, context, support
from core.errors import Forbidden, Invalid
from impersonation.errors import NeverInSession, SessionStands
from impersonation.models import ImpersonationSession
from operations import services as operations
from operations.models import OPEN, Operation
from tenants.models import Grants, User
from tenants.permissions import grants_on_tenant, is_platform_admin
from tenants.scope import platform_scope, tenant_scope

from .items import Verdict
from .planning import plan_of

REVERT = "impersonation.revert"
SUBJECT = "support_session"


def may_revert(session: ImpersonationSession, user: User) -> bool:
    """A platform admin, or an owner of the customer; nobody in a support session. Opens the platform's scope."""
    if support.current() is not None or context.current().session_id is not None:
        return False
    with platform_scope():
        held = grants_on_tenant(user_id=user.pk, tenant_id=session.impersonated_tenant_id)
        return is_platform_admin(user) or Grants.ADMINISTER in held


def reverts_of(session: ImpersonationSession) -> list[Operation]:
    """Reverts of the session so far, newest first. Needs a scope that sees the tenant."""
    rows = Operation.objects.filter(
        tenant_id=session.impersonated_tenant_id, kind=REVERT, subject_type=SUBJECT, subject_id=session.pk
    )
    return list(rows.select_related("requested_by").order_by("-created_at")[:20])


def start_revert(
    *,
    session: ImpersonationSession,
    by: User,
    items: Collection[str] | None = None,
    force: Collection[str] = (),
    idempotency_key: str | None = None,
) -> Operation:
    """Revert what the session wrote: the ``items`` (ids of the plan), or, with None, all that can be reverted.

    Conflicts are left alone unless their ids are in ``force``. One job, one revert of a session at a time. Raises
    ``Forbidden``, ``NeverInSession``, ``SessionStands``, ``Invalid`` (nothing chosen, or ids that are not in the plan).
    """
    _require_revert(session, by)
    tenant_id = session.impersonated_tenant_id
    chosen, forced = _chosen(session, items, set(force))
    params = {"session_id": str(session.pk), "items": sorted(chosen), "force": sorted(forced & chosen)}
    with tenant_scope(tenant_id):
        operation = operations.start(
            tenant_id=tenant_id,
            kind=REVERT,
            title=f"Revert what {session.actor_user} did as {session.impersonated_user}"[:200],
            params=params,
            requested_by=by,
            idempotency_key=idempotency_key,
            exclusive_key=f"support-session:{session.pk}",
            subject_type=SUBJECT,
            subject_id=session.pk,
        )
        record_event(
            action="IMPERSONATION_REVERT",
            resource_type="platform_impersonation_sessions",
            resource_id=session.pk,
            tenant_id=tenant_id,
            details={
                "session_id": str(session.pk),
                "operation_id": str(operation.pk),
                "items": len(chosen),
                "force": sorted(forced),
            },
        )
    return operation


def _require_revert(session: ImpersonationSession, by: User) -> None:
    if support.current() is not None or context.current().session_id is not None:
        raise NeverInSession
    if not may_revert(session, by):
        raise Forbidden("Only a platform admin or an owner of the customer reverts a session's writes.")
    if session.over_at(clock.now()) is None:
        raise SessionStands(details={"session_id": str(session.pk)})


def _chosen(
    session: ImpersonationSession, items: Collection[str] | None, forced: set[str]
) -> tuple[set[str], set[str]]:
    """Ids of what is to be reverted, and the forced ones among what was asked for."""
    plan = plan_of(session)
    asked = {item.id for item in plan.of(Verdict.READY)} if items is None else set(items) | forced
    if unknown := sorted(asked - {item.id for item in plan.items}):
        raise Invalid(f"The session did nothing of the name “{unknown[0]}”.", details={"items": unknown[:20]})
    chosen = asked & {item.id for item in plan.items if item.may_be_reverted}
    if not chosen:
        raise Invalid("None of the chosen items can be reverted.", recovery="Choose items that can be reverted.")
    return chosen, forced & asked


def is_under_way(reverts: Collection[Operation]) -> bool:
    return any(row.status in OPEN for row in reverts)
