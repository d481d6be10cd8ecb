"""Requests that somebody else must agree to: put, answered once, used once."""

from __future__ import annotations

import uuid

from audit.services import record_event
from core import clock, context, support
from core.errors import Forbidden, NotFound
from impersonation import alerts, guardrails
from impersonation.errors import ConsentNeeded, ConsentUnusable
from impersonation.models import REQUEST_LIFE, ImpersonationSession, RequestKind, SupportRequest, WriteConsent
from tenants.models import Membership, Tenant, TenantRole, User
from tenants.scope import platform_scope

from .origins import RequestOrigin


def ask(
    *,
    kind: RequestKind,
    actor: User,
    target: User,
    tenant: Tenant,
    reason: str,
    ticket: str,
    origin: RequestOrigin,
    session: ImpersonationSession | None = None,
) -> SupportRequest:
    """Put a request on record and tell those who may answer it. Needs the platform's scope."""
    now = clock.now()
    wish = SupportRequest.objects.create(
        tenant=tenant,
        kind=kind,
        requested_by=actor,
        impersonated_user=target,
        session_id=session.pk if session else None,
        reason=reason,
        ticket=ticket,
        browser=origin.browser,
        created_at=now,
        expires_at=now + REQUEST_LIFE,
    )
    details = {"kind": str(kind), "reason": reason, "request_id": str(wish.pk), "target_user_id": str(target.pk)}
    record_event(
        action="IMPERSONATION_REQUESTED",
        resource_type="support_requests",
        resource_id=wish.pk,
        tenant_id=tenant.pk,
        details=details,
    )
    alerts.consent_wanted(wish, policy=guardrails.policy_of(tenant))
    return wish


def use(
    *, kind: RequestKind, actor: User, tenant: Tenant, target: User | None = None, session_id: uuid.UUID | None = None
) -> SupportRequest:
    """Use up the agreement to a start (``target``) or to writing (``session_id``); raises ``ConsentNeeded``."""
    rows = SupportRequest.objects.select_for_update().filter(
        tenant=tenant, kind=kind, requested_by=actor, approved=True, used_at=None, expires_at__gt=clock.now()
    )
    rows = rows.filter(session_id=session_id) if session_id else rows.filter(impersonated_user=target)
    wish = rows.order_by("created_at").first()
    if wish is None:
        raise ConsentNeeded
    wish.used_at = clock.now()
    wish.save(update_fields=["used_at"])
    return wish


def use_or_ask(
    *, actor: User, target: User, tenant: Tenant, reason: str, ticket: str, origin: RequestOrigin
) -> SupportRequest:
    """Use an owner's approval of this start, or put the request to the owners and say so."""
    with context.acting(actor_id=actor.pk), platform_scope():
        try:
            return use(kind=RequestKind.START, actor=actor, tenant=tenant, target=target)
        except ConsentNeeded:
            pending = SupportRequest.objects.filter(
                tenant=tenant, kind=RequestKind.START, requested_by=actor, impersonated_user=target, approved=None,
                expires_at__gt=clock.now(),
            ).first()  # fmt: skip
            wish = pending or ask(
                kind=RequestKind.START, actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket,
                origin=origin,
            )  # fmt: skip
    raise ConsentNeeded(
        f"An owner of {tenant.name} must approve this session first.", details={"request_id": str(wish.pk)}
    )


def decide(*, request_id: uuid.UUID, by: User, approve: bool, browser: str = "") -> SupportRequest:
    """Agree to a request or turn it down, once. ``by`` is the real person, never one inside a session.

    Raises ``Forbidden`` for the requester, the same person under another account or in the same browser, and for
    people whose agreement the customer's policy does not ask for.
    """
    if support.current() is not None or context.current().session_id is not None:
        raise Forbidden("Nobody agrees to anything from inside a support session.", recovery="End your session first.")
    with context.acting(actor_id=by.pk), platform_scope():
        rows = SupportRequest.objects.select_for_update(of=("self",)).filter(pk=request_id)
        if not guardrails.may_support(by):
            owned = Membership.objects.filter(user=by, role=TenantRole.OWNER)
            rows = rows.filter(tenant_id__in=owned.values("tenant_id"))
        wish = rows.select_related("tenant", "requested_by", "impersonated_user").first()
        if wish is None:
            raise NotFound
        _refuse_decider(wish, by, browser)
        if wish.state(clock.now()) != "pending":
            raise ConsentUnusable(details={"state": wish.state(clock.now())})
        wish.approved, wish.decided_by, wish.decided_at = approve, by, clock.now()
        wish.expires_at = clock.now() + REQUEST_LIFE
        wish.save(update_fields=["approved", "decided_by", "decided_at", "expires_at"])
        record_event(
            action="IMPERSONATION_APPROVED" if approve else "IMPERSONATION_DECLINED",
            resource_type="support_requests",
            resource_id=wish.pk,
            tenant_id=wish.tenant_id,
            details={
                "kind": wish.kind,
                "requested_by": str(wish.requested_by_id),
                "session": str(wish.session_id or ""),
            },
        )
        return wish


def is_owner(user: User, tenant: Tenant) -> bool:
    """Whether the person owns the tenant. Needs the platform's scope."""
    return Membership.objects.filter(tenant=tenant, user=user, role=TenantRole.OWNER).exists()


def may_see(wish: SupportRequest, user: User) -> bool:
    """Owners of the tenant and support staff see a request. Needs the platform's scope."""
    return is_owner(user, wish.tenant) or guardrails.may_support(user)


def _refuse_decider(wish: SupportRequest, by: User, browser: str) -> None:
    requester = wish.requested_by
    if guardrails.same_person(requester, by):
        raise Forbidden("Nobody agrees to their own request.", recovery="Ask somebody else.")
    if browser and wish.browser and browser == wish.browser:
        raise Forbidden(
            "The request was made in this very browser: somebody else must agree, on their own device.",
            recovery="Ask somebody else.",
        )
    if by.is_service or not by.is_active:
        raise Forbidden
    owner, staff = is_owner(by, wish.tenant), guardrails.may_support(by)
    if wish.kind == RequestKind.START:
        allowed = owner
    else:
        consent = guardrails.policy_of(wish.tenant).write_consent
        allowed = (owner and consent != WriteConsent.SECOND_STAFF) or (staff and consent != WriteConsent.OWNER)
    if not allowed:
        raise Forbidden("The customer's policy wants somebody else's agreement.", recovery="Look at the policy.")
