"""Support sessions over REST. A session begun with a token belongs to that token."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Status

from core import clock
from core.asked import Asked
from core.errors import Forbidden, NotFound
from core.ids import uuid_or_none, uuid_or_not_found
from core.paging import clamp, one_of
from core.support_rules import LEAVES, NEVER, OUTSIDE, in_support_session
from tenants.api import caller, only_tenant, visit_for
from tenants.models import ApiToken, Grants, Tenant, User
from tenants.pages import NOBODYS
from tenants.permissions import is_platform_admin
from tenants.requests import token_of
from tenants.scope import platform_scope

from . import activity, emergency, factors, guardrails, schemas, selectors, services
from .errors import NotSupport, SessionNotFound
from .models import ImpersonationSession, SupportPolicy
from .reverting.planning import plan_of
from .reverting.services import may_revert, start_revert
from .views import may_look

router = Router()


class StartBody(Asked):
    """``tenant`` is an id or a short name; ``target`` may be an address instead of an id."""

    target_user_id: str = ""
    target_email: str = ""
    tenant: str = ""
    tenant_id: str = ""
    reason: str = Field("", description="At least 10 characters; the customer reads it.")
    ticket: str = ""
    break_glass: bool = False
    mfa_code: str = Field("", description="A code of the caller's authenticator app, or a recovery code.")


class StopBody(Asked):
    session_id: uuid.UUID | None = None
    force: bool = False
    reason: str = ""


class WriteBody(Asked):
    reason: str = Field("", description="Given to request write mode; left out to use an approval.")
    mfa_code: str = ""


class PolicyBody(Asked):
    access: str
    write_consent: str
    longest_minutes: int = 60
    idle_minutes: int = 15


class RevertBody(Asked):
    items: list[str] = Field([], description="Ids of items, as GET gives them.")
    all: bool = Field(False, description="Everything that can be reverted; conflicts are skipped.")
    force: list[str] = Field([], description="Ids of conflicts to overwrite.")


class ReasonBody(Asked):
    reason: str = ""


def _unbound(request: HttpRequest) -> ApiToken:
    """The caller's token, if it is bound to no tenant and not narrowed: support's own work needs such a one."""
    token: ApiToken = getattr(request, "real_token", None) or token_of(request)
    if token.tenant_id is not None or (token.permissions and "impersonate" not in token.permissions):
        raise Forbidden(
            "This token is bound to a tenant or narrowed.", recovery="Use an unbound token of your own account."
        )
    return token


def _code(request: HttpRequest, given: str) -> str:
    return given or request.headers.get("X-OpsConsole-MFA", "")


def _tenant(text: str) -> Tenant | None:
    pk = uuid_or_none(text)
    return Tenant.objects.filter(**({"pk": pk} if pk else {"slug": text})).first()


def _own(user: User) -> ImpersonationSession:
    with platform_scope():
        found = selectors.live_session_of(user)
    if found is None:
        raise SessionNotFound("You have no support session.", recovery="Start one with POST /platform/impersonate.")
    return found


def _session_out(session: ImpersonationSession) -> schemas.SessionOut:
    """The session as it is in the database now."""
    with platform_scope():
        return schemas.SessionOut.of(selectors.session_by_id(session.pk) or session)


@in_support_session(OUTSIDE)
@router.post(
    "/platform/impersonate",
    response={201: schemas.SessionAnswer},
    summary="Start a support session with this token",
)
def start(request: HttpRequest, body: StartBody) -> Status[schemas.SessionAnswer]:
    """Read only at first. The token acts as the customer's user until the session ends."""
    token = _unbound(request)
    with platform_scope():
        target = _target(body)
        tenant = _tenant_of(body, target)
    user = token.user
    if not guardrails.may_support(user):
        raise NotSupport
    if target is None:
        raise NotFound("There is no such person.", recovery="Check target_user_id or target_email.")
    if not services.blocked_by(actor=user, target=target, tenant=tenant):
        factors.check_code(user, _code(request, body.mfa_code))
    session = services.start_session(
        actor=user,
        target=target,
        tenant=tenant,
        reason=body.reason,
        ticket=body.ticket,
        origin=services.RequestOrigin(token_id=token.pk),
        break_glass=body.break_glass,
    )
    return Status(201, schemas.SessionAnswer(session=_session_out(session)))


def _target(body: StartBody) -> User | None:
    """Whom the body names; None where it names nobody or nobody who exists."""
    if not (body.target_user_id or body.target_email):
        return None
    people = User.objects.all()
    if body.target_email:
        people = people.filter(email__iexact=body.target_email)
    if body.target_user_id:
        people = people.filter(pk=uuid_or_not_found(body.target_user_id))
    return people.first()


def _tenant_of(body: StartBody, target: User | None) -> Tenant | None:
    """The tenant that the body names; where it names none, the person's only one."""
    named = body.tenant or body.tenant_id
    if named:
        return _tenant(named)
    if target is None:
        return None
    own = list(Tenant.objects.filter(pk__in=target.memberships.values("tenant_id"))[:2])
    return own[0] if len(own) == 1 else None


@in_support_session(OUTSIDE)
@router.post(
    "/platform/impersonate/stop",
    response=schemas.SessionStopped,
    summary="End a support session: one's own, or with force anybody's",
)
def stop(request: HttpRequest, body: StopBody) -> schemas.SessionStopped:
    user = caller(request)
    with platform_scope():
        session = _session_to_stop(user, body.session_id)
        if not services.may_end(session, user):
            raise Forbidden("Only its own person, a platform admin or an owner of the customer ends a session.")
    if session.actor_user_id != user.pk:
        _may_force(request, session)
        if not body.force:
            raise Forbidden("This is somebody else's session.", recovery="Send force: true to end it.")
    services.end_session(session_id=session.pk, by=user, reason=body.reason or "ended over REST")
    return schemas.SessionStopped(session=_session_out(session), stopped=True)


def _session_to_stop(user: User, session_id: uuid.UUID | None) -> ImpersonationSession:
    """The session of this id, or the person's own; one that the person may not see is ``NotFound``."""
    if session_id is None:
        found = selectors.live_session_of(user)
    else:
        found = selectors.session_by_id(session_id, near=None if may_look(user) else user)
    if found is None:
        raise SessionNotFound
    return found


def _may_force(request: HttpRequest, session: ImpersonationSession) -> None:
    """A token may do here only what it was made for, whoever its person is."""
    if is_platform_admin(caller(request)) and only_tenant(request) is None:
        _unbound(request)
    else:
        visit_for(request, tenant_id=session.impersonated_tenant_id, grant=Grants.ADMINISTER)


def _everywhere(request: HttpRequest) -> bool:
    """Whether the caller, with this token, sees the sessions of every tenant."""
    token = token_of(request)
    narrowed = bool(token.permissions) and Grants.VIEW_TRAIL not in token.permissions
    return may_look(token.user) and token.tenant_id is None and not narrowed


@in_support_session(LEAVES)
@router.post("/platform/impersonate/stop-all", response=schemas.SessionsStopped, summary="End every support session")
def stop_all(request: HttpRequest, body: ReasonBody) -> schemas.SessionsStopped:
    user = _admin(request)
    return schemas.SessionsStopped(stopped=services.end_all(by=user, reason=body.reason or "all ended over REST"))


def _admin(request: HttpRequest) -> User:
    token = _unbound(request)
    if not is_platform_admin(token.user):
        raise Forbidden("Only platform admins do this.")
    return token.user


@in_support_session(OUTSIDE)
@router.post("/platform/impersonate/extend", response=schemas.SessionAnswer, summary="Extend one's own session")
def extend(request: HttpRequest) -> schemas.SessionAnswer:
    user = _unbound(request).user
    session = services.extend_session(session=_own(user), by=user)
    return schemas.SessionAnswer(session=_session_out(session))


@in_support_session(OUTSIDE)
@router.post(
    "/platform/impersonate/write",
    response={200: schemas.SessionAnswer, 202: schemas.WriteRequested},
    summary="Request write mode, or use its approval",
)
def write(request: HttpRequest, body: WriteBody) -> Status[schemas.SessionAnswer]:
    """With ``reason``: request it from the second person. Without: use their approval, once."""
    token = _unbound(request)
    factors.check_code(token.user, _code(request, body.mfa_code))
    session = _own(token.user)
    if not body.reason:
        session = services.take_write(session=session, by=token.user)
        return Status(200, schemas.SessionAnswer(session=_session_out(session)))
    origin = services.RequestOrigin(token_id=token.pk)
    requested = services.request_write(session=session, by=token.user, reason=body.reason, origin=origin)
    pending = schemas.PendingRequest(id=requested.pk, expires_at=requested.expires_at)
    return Status(202, schemas.WriteRequested(session=_session_out(session), request=pending))


@in_support_session(LEAVES)
@router.get("/platform/impersonate/sessions", response=schemas.SessionList, summary="Support sessions, newest first")
def list_sessions(
    request: HttpRequest, tenant: str = "", state: str = "", q: str = "", limit: int = 50, cursor: str = ""
) -> schemas.SessionList:
    """Of the whole platform for its staff, or of one tenant for those who may read its trail."""
    one_of("state", state, selectors.STATES)
    where = _listed_tenant(request, tenant)
    with platform_scope():
        page = selectors.list_sessions(state=state, q=q, tenant=where, cursor=cursor, limit=clamp(limit))
        sessions = [schemas.SessionOut.of(row) for row in page.rows]
    return schemas.SessionList(sessions=sessions, next_cursor=page.next_cursor or None)


def _listed_tenant(request: HttpRequest, tenant: str) -> Tenant | None:
    """The tenant whose sessions are listed; None for those of the whole platform."""
    if not _everywhere(request):
        bound = only_tenant(request)
        wanted = tenant or (bound.pk if bound else None)
        if wanted is None:
            raise Forbidden("Name the tenant whose sessions you want.", recovery="Add ?tenant=<short name>.")
        return visit_for(request, tenant_id=wanted, grant=Grants.VIEW_TRAIL).tenant
    if not tenant:
        return None
    with platform_scope():
        found = _tenant(tenant)
    if found is None:
        raise NotFound
    return found


@in_support_session(LEAVES)
@router.get(
    "/platform/impersonate/sessions/{session_id}",
    response=schemas.SessionDetailAnswer,
    summary="One session: counts, flags, everything touched",
)
def get_session(request: HttpRequest, session_id: uuid.UUID) -> schemas.SessionDetailAnswer:
    everywhere = _everywhere(request)
    found = _found(request, session_id, grant=None if everywhere else Grants.VIEW_TRAIL)
    with platform_scope():
        counts = activity.counts_of(found)
        # Where else a person of support was is no customer's business.
        elsewhere = selectors.tenants_within_a_day(found) if everywhere else 0
        session = schemas.SessionDetail.of(
            found,
            counts=schemas.SessionCounts.of(counts),
            flags=activity.flags(found, counts, tenants_that_day=elsewhere),
            impact=[
                schemas.TouchedKind.of(item) for item in activity.impact(found, slug=found.impersonated_tenant.slug)
            ],
        )
    return schemas.SessionDetailAnswer(session=session)


def _found(request: HttpRequest, session_id: uuid.UUID, *, grant: str | None) -> ImpersonationSession:
    """The session, where the caller holds ``grant`` on its tenant (None: the caller has checked that).

    Another tenant's session cannot be told from one that does not exist.
    """
    with platform_scope():
        found = selectors.session_by_id(session_id)
    if grant is not None:
        try:
            visit_for(request, tenant_id=found.impersonated_tenant_id if found else NOBODYS, grant=grant)
        except NotFound as error:
            raise SessionNotFound from error
    if found is None:
        raise SessionNotFound
    return found


def _to_revert(request: HttpRequest, session_id: uuid.UUID) -> ImpersonationSession:
    """The session, for a platform admin with an unbound token or an owner of its tenant; ``NotFound`` for others."""
    user = caller(request)
    everywhere = is_platform_admin(user) and not only_tenant(request)
    if everywhere:
        _unbound(request)
    found = _found(request, session_id, grant=None if everywhere else Grants.ADMINISTER)
    if not may_revert(found, user):
        raise Forbidden("Only a platform admin or an owner of the customer reverts a session's writes.")
    return found


@in_support_session(NEVER)
@router.get(
    "/platform/impersonate/{session_id}/revert",
    response=schemas.RevertPreview,
    summary="What reverting a session's writes would come to",
)
def preview_revert(request: HttpRequest, session_id: uuid.UUID) -> dict[str, Any]:
    """Each thing it did with the values before, after and now, and whether it can be reverted."""
    return plan_of(_to_revert(request, session_id)).to_dict()


@in_support_session(NEVER)
@router.post(
    "/platform/impersonate/{session_id}/revert",
    response={202: schemas.RevertAnswer},
    summary="Revert a session's writes, as one job",
)
def revert(request: HttpRequest, session_id: uuid.UUID, body: RevertBody) -> Status[schemas.RevertAnswer]:
    """The chosen items or all; the job's result says how each ended."""
    operation = start_revert(
        session=_to_revert(request, session_id),
        by=caller(request),
        items=None if body.all else body.items,
        force=body.force,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    job = schemas.RevertJob(
        id=operation.pk, kind=operation.kind, status=operation.status, items=operation.params["items"]
    )
    return Status(202, schemas.RevertAnswer(operation=job, operation_id=operation.pk))


@in_support_session(LEAVES)
@router.post(
    "/platform/impersonate/requests/{request_id}/{answer}",
    response=schemas.DecisionAnswer,
    summary="Approve a request, or decline it",
)
def answer(request: HttpRequest, request_id: uuid.UUID, answer: str) -> schemas.DecisionAnswer:
    if answer not in ("approve", "decline"):
        raise NotFound
    decided = services.decide(request_id=request_id, by=_unbound(request).user, approve=answer == "approve")
    state = decided.state(clock.now())
    return schemas.DecisionAnswer(
        request=schemas.DecidedRequest(id=decided.pk, state=state, expires_at=decided.expires_at)
    )


def _policy_answer(policy: SupportPolicy) -> schemas.PolicyAnswer:
    return schemas.PolicyAnswer(policy=schemas.PolicyOut.model_validate(policy))


@in_support_session(NEVER)
@router.get(
    "/tenants/{tenant}/support-policy", response=schemas.PolicyAnswer, summary="What a customer lets support do"
)
def get_policy(request: HttpRequest, tenant: str) -> schemas.PolicyAnswer:
    visit = visit_for(request, tenant_id=tenant, grant=Grants.VIEW_TRAIL)
    with platform_scope():
        return _policy_answer(guardrails.policy_of(visit.tenant))


@in_support_session(NEVER)
@router.put("/tenants/{tenant}/support-policy", response=schemas.PolicyAnswer, summary="Set what support may do")
def put_policy(request: HttpRequest, tenant: str, body: PolicyBody) -> schemas.PolicyAnswer:
    visit = visit_for(request, tenant_id=tenant, grant=Grants.ADMINISTER)
    return _policy_answer(services.set_policy(tenant=visit.tenant, by=visit.user, **body.dict()))


@in_support_session(LEAVES)
@router.post(
    "/platform/tenants/{tenant}/{what}",
    response=schemas.EmergencyAnswer,
    summary="revoke-tokens, sign-out, reset-credentials, end-sessions",
)
def tenant_emergency(
    request: HttpRequest, tenant: str, what: str, body: ReasonBody | None = None
) -> schemas.EmergencyAnswer:
    user = _admin(request)
    with platform_scope():
        found = _tenant(tenant)
    if found is None or what not in emergency.ACTS:
        raise NotFound
    message = emergency.act(tenant=found, what=what, by=user, reason=body.reason if body else "")
    return schemas.EmergencyAnswer(tenant=found.slug, done=what, message=message)
