"""Requests that somebody else must approve: made, answered once, used once."""

from __future__ import annotations

import uuid

from audit.services import record_event
from core import clock, context, support
from core.errors import Forbidden, NotFound
from impersonation import alerts, guardrails
from impersonation.errors import ConsentNeeded, ConsentUnusable
from impersonation.models import REQUEST_LIFE, RequestKind, SupportRequest, WriteConsent
from tenants.models import Membership, Tenant, TenantRole, User
from tenants.scope import platform_scope

from .origins import SessionTerms


def request_consent(terms: SessionTerms, *, kind: RequestKind, session_id: uuid.UUID | None = None) -> SupportRequest:
    """Record a request and notify those who may answer it. Needs the platform's scope."""
    now = clock.now()
    request = SupportRequest.objects.create(
        tenant=terms.tenant,
        kind=kind,
        requested_by=terms.actor,
        impersonated_user=terms.target,
        session_id=session_id,
        reason=terms.reason,
        ticket=terms.ticket,
        browser=terms.origin.browser,
        created_at=now,
        expires_at=now + REQUEST_LIFE,
    )
    _record(
        "IMPERSONATION_REQUESTED",
        request,
        reason=terms.reason,
        request_id=str(request.pk),
        target_user_id=str(terms.target.pk),
    )
    alerts.consent_wanted(request, policy=guardrails.policy_of(terms.tenant))
    return request


def _record(action: str, request: SupportRequest, **details: str) -> None:
    record_event(
        action=action,
        resource_type="support_requests",
        resource_id=request.pk,
        tenant_id=request.tenant_id,
        details={"kind": str(request.kind), **details},
    )


def use(
    *, kind: RequestKind, actor: User, tenant: Tenant, target: User | None = None, session_id: uuid.UUID | None = None
) -> SupportRequest:
    """Use up the approval of a start (``target``) or of write mode (``session_id``). Raises ``ConsentNeeded``."""
    rows = SupportRequest.objects.select_for_update().filter(
        tenant=tenant, kind=kind, requested_by=actor, approved=True, used_at=None, expires_at__gt=clock.now()
    )
    rows = rows.filter(session_id=session_id) if session_id else rows.filter(impersonated_user=target)
    request = rows.order_by("created_at").first()
    if request is None:
        raise ConsentNeeded
    request.used_at = clock.now()
    request.save(update_fields=["used_at"])
    return request


def use_or_request(terms: SessionTerms) -> SupportRequest:
    """Use an owner's approval of this start; where there is none, request it and raise ``ConsentNeeded``."""
    with context.acting(actor_id=terms.actor.pk), platform_scope():
        try:
            return use(kind=RequestKind.START, actor=terms.actor, tenant=terms.tenant, target=terms.target)
        except ConsentNeeded:
            request = _pending_start(terms) or request_consent(terms, kind=RequestKind.START)
    raise ConsentNeeded(
        f"An owner of {terms.tenant.name} must approve this session first.", details={"request_id": str(request.pk)}
    )


def _pending_start(terms: SessionTerms) -> SupportRequest | None:
    rows = SupportRequest.objects.filter(
        tenant=terms.tenant, kind=RequestKind.START, requested_by=terms.actor, impersonated_user=terms.target
    )
    return rows.filter(approved=None, expires_at__gt=clock.now()).first()


def decide(*, request_id: uuid.UUID, by: User, approve: bool, browser: str = "") -> SupportRequest:
    """Approve a request or decline it, once. ``by`` is the real person, never one inside a session.

    Raises ``Forbidden`` for the requester, the same person under another account or in the same browser, and for
    people whose approval the customer's policy does not ask for; ``ConsentUnusable`` where it is not pending.
    """
    if support.current() is not None or context.current().session_id is not None:
        raise Forbidden("Requests are not answered from inside a support session.", recovery="End your session first.")
    with context.acting(actor_id=by.pk), platform_scope():
        request = _locked_request(request_id, by)
        _refuse_decider(request, by, browser)
        if request.state(clock.now()) != "pending":
            raise ConsentUnusable(details={"state": request.state(clock.now())})
        request.approved, request.decided_by, request.decided_at = approve, by, clock.now()
        request.expires_at = clock.now() + REQUEST_LIFE
        request.save(update_fields=["approved", "decided_by", "decided_at", "expires_at"])
        _record(
            "IMPERSONATION_APPROVED" if approve else "IMPERSONATION_DECLINED",
            request,
            requested_by=str(request.requested_by_id),
            session=str(request.session_id or ""),
        )
        return request


def _locked_request(request_id: uuid.UUID, by: User) -> SupportRequest:
    """The request, for support staff and for owners of its tenant. Raises ``NotFound`` for everybody else."""
    rows = SupportRequest.objects.select_for_update(of=("self",)).filter(pk=request_id)
    if not guardrails.may_support(by):
        owned = Membership.objects.filter(user=by, role=TenantRole.OWNER)
        rows = rows.filter(tenant_id__in=owned.values("tenant_id"))
    request = rows.select_related("tenant", "requested_by", "impersonated_user").first()
    if request is None:
        raise NotFound
    return request


def is_owner(user: User, tenant: Tenant) -> bool:
    """Whether the person owns the tenant. Needs the platform's scope."""
    return Membership.objects.filter(tenant=tenant, user=user, role=TenantRole.OWNER).exists()


def may_see(request: SupportRequest, user: User) -> bool:
    """Owners of the tenant and support staff see a request. Needs the platform's scope."""
    return is_owner(user, request.tenant) or guardrails.may_support(user)


def _refuse_decider(request: SupportRequest, by: User, browser: str) -> None:
    if guardrails.same_person(request.requested_by, by):
        raise Forbidden("Nobody approves their own request.", recovery="Ask somebody else.")
    if browser and browser == request.browser:
        raise Forbidden(
            "The request was made in this browser: another person must answer it on their own device.",
            recovery="Ask somebody else.",
        )
    if by.is_service or not by.is_active:
        raise Forbidden
    if not _may_decide(request, by):
        raise Forbidden(
            "The customer's policy asks for another person's approval.", recovery="See the policy on “Support access”."
        )


def _may_decide(request: SupportRequest, by: User) -> bool:
    """Owners decide about a start; about write mode whoever the customer's policy names."""
    owner = is_owner(by, request.tenant)
    if request.kind == RequestKind.START:
        return owner
    consent = guardrails.policy_of(request.tenant).write_consent
    return {
        WriteConsent.OWNER: owner,
        WriteConsent.SECOND_STAFF: guardrails.may_support(by),
        WriteConsent.EITHER: owner or guardrails.may_support(by),
    }[WriteConsent(consent)]
