"""Support sessions over REST. A session begun with a token belongs to that token."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from core import clock
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

from . import emergency, factors, guardrails, selectors, services
from .errors import NotSupport
from .models import ImpersonationSession, SupportPolicy
from .reverting.planning import plan_of
from .reverting.services import may_revert, start_revert
from .views import may_look

router = Router()


class StartBody(Schema):
    """``tenant`` is an id or a short name; ``target`` may be an address instead of an id."""

    target_user_id: str = ""
    target_email: str = ""
    tenant: str = ""
    tenant_id: str = ""
    reason: str = Field("", description="At least 10 characters; the customer reads it.")
    ticket: str = ""
    break_glass: bool = False
    mfa_code: str = Field("", description="A code of the caller's authenticator app, or a recovery code.")


class StopBody(Schema):
    session_id: uuid.UUID | None = None
    force: bool = False
    reason: str = ""


class WriteBody(Schema):
    reason: str = Field("", description="Given to ask for write mode; left out to use an agreement.")
    mfa_code: str = ""


class PolicyBody(Schema):
    access: str
    write_consent: str
    longest_minutes: int = 60
    idle_minutes: int = 15


class RevertBody(Schema):
    items: list[str] = Field([], description="Ids of items, as GET gives them.")
    all: bool = Field(False, description="Everything that can be undone; conflicts are left alone.")
    force: list[str] = Field([], description="Ids of conflicts that are overwritten all the same.")


class ReasonBody(Schema):
    reason: str = ""


def _unbound(request: HttpRequest) -> ApiToken:
    """Support's own work needs a token that is bound to no tenant and narrowed to nothing else."""
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
        raise NotFound("You have no support session.", recovery="Start one with POST /platform/impersonate.")
    return found


def _told(session: ImpersonationSession) -> dict[str, Any]:
    with platform_scope():
        found = selectors.session_by_id(session.pk)
        return {"session": selectors.session_row(found or session, clock.now())}


@in_support_session(OUTSIDE)
@router.post("/platform/impersonate", response={201: dict}, summary="Start a support session with this token")
def start(request: HttpRequest, body: StartBody) -> Any:
    """Reads only at first. The token acts as the customer's user until the session ends."""
    token = _unbound(request)
    with platform_scope():
        tenant = _tenant(body.tenant or body.tenant_id)
        people = User.objects.filter(email__iexact=body.target_email) if body.target_email else User.objects.all()
        if body.target_user_id:
            people = people.filter(pk=uuid_or_not_found(body.target_user_id))
        target = people.first() if body.target_user_id or body.target_email else None
        if target is not None and not (body.tenant or body.tenant_id):
            # Without a tenant the person's only one is meant.
            places = list(Tenant.objects.filter(pk__in=target.memberships.values("tenant_id"))[:2])
            tenant = places[0] if len(places) == 1 else None
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
    return Status(201, _told(session))


@in_support_session(OUTSIDE)
@router.post("/platform/impersonate/stop", summary="End a support session: one's own, or with force anybody's")
def stop(request: HttpRequest, body: StopBody) -> dict[str, Any]:
    user = caller(request)
    with platform_scope():
        if body.session_id:
            near = None if may_look(user) else user
            found = selectors.session_by_id(body.session_id, near=near)
        else:
            found = selectors.live_session_of(user)
        if found is None:
            raise NotFound("There is no such session.", recovery="List them: GET /platform/impersonate/sessions.")
        if not services.may_end(found, user):
            raise Forbidden("Only its own person, a platform admin or an owner of the customer ends a session.")
    if found.actor_user_id != user.pk:
        _may_force(request, found)
        if not body.force:
            raise Forbidden("This is somebody else's session.", recovery="Send force: true to end it all the same.")
    services.end_session(session_id=found.pk, by=user, reason=body.reason or "ended over REST")
    return {**_told(found), "stopped": True}


def _may_force(request: HttpRequest, session: ImpersonationSession) -> None:
    """A token does no more here than it is for, whoever its person is."""
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
@router.post("/platform/impersonate/stop-all", summary="End every support session")
def stop_all(request: HttpRequest, body: ReasonBody) -> dict[str, Any]:
    user = _admin(request)
    return {"stopped": services.end_all(by=user, reason=body.reason or "all ended over REST")}


def _admin(request: HttpRequest) -> User:
    token = _unbound(request)
    if not is_platform_admin(token.user):
        raise Forbidden("Only platform admins do this.")
    return token.user


@in_support_session(OUTSIDE)
@router.post("/platform/impersonate/extend", summary="Another limit's length for one's own session")
def extend(request: HttpRequest) -> dict[str, Any]:
    user = _unbound(request).user
    return _told(services.extend_session(session=_own(user), by=user))


@in_support_session(OUTSIDE)
@router.post("/platform/impersonate/write", response={200: dict, 202: dict}, summary="Ask for write mode, or use it")
def write(request: HttpRequest, body: WriteBody) -> Any:
    """With ``reason``: ask the second person. Without: use their agreement, once."""
    token = _unbound(request)
    factors.check_code(token.user, _code(request, body.mfa_code))
    session = _own(token.user)
    if body.reason:
        wish = services.request_write(
            session=session, by=token.user, reason=body.reason, origin=services.RequestOrigin(token_id=token.pk)
        )
        return Status(202, {**_told(session), "request": {"id": str(wish.pk), "expires_at": wish.expires_at}})
    return Status(200, _told(services.take_write(session=session, by=token.user)))


@in_support_session(LEAVES)
@router.get("/platform/impersonate/sessions", summary="Support sessions, newest first")
def list_sessions(
    request: HttpRequest, tenant: str = "", state: str = "", q: str = "", limit: int = 50, cursor: str = ""
) -> dict[str, Any]:
    """Of the whole platform for its staff, or of one tenant for those who may read its trail."""
    one_of("state", state, selectors.STATES)
    now, bound = clock.now(), only_tenant(request)
    where: Tenant | None = None
    if not _everywhere(request):
        wanted = tenant or (bound.pk if bound else None)
        if wanted is None:
            raise Forbidden("Name the tenant whose sessions you want.", recovery="Add ?tenant=<short name>.")
        where = visit_for(request, tenant_id=wanted, grant=Grants.VIEW_TRAIL).tenant
    with platform_scope():
        if where is None and tenant:
            where = _tenant(tenant)
            if where is None:
                raise NotFound
        page = selectors.list_sessions(state=state, q=q, tenant=where, cursor=cursor, limit=clamp(limit))
        rows = [selectors.session_row(row, now) for row in page.rows]
    return {"sessions": rows, "next_cursor": page.next_cursor or None}


@in_support_session(LEAVES)
@router.get("/platform/impersonate/sessions/{session_id}", summary="One session: counts, flags, everything touched")
def get_session(request: HttpRequest, session_id: uuid.UUID) -> dict[str, Any]:
    everywhere = _everywhere(request)
    found = _found(request, session_id, grant=None if everywhere else Grants.VIEW_TRAIL)
    with platform_scope():
        counts = selectors.counts_of(found)
        touched = selectors.impact(found, slug=found.impersonated_tenant.slug)
        # Where else a person of support was is no customer's business.
        elsewhere = selectors.tenants_within_a_day(found) if everywhere else 0
        flags = selectors.flags(found, counts, tenants_that_day=elsewhere)
        row = selectors.session_row(found, clock.now())
    return {
        "session": {
            **row,
            "counts": {
                "reads": counts.reads,
                "writes": counts.writes,
                "write_requests": counts.requests,
                "refusals": counts.refusals,
                "rows_written": counts.rows,
                "effects": counts.effects,
            },
            "flags": flags,
            "impact": [
                {
                    "resource_type": item.kind,
                    "counts": dict(item.counts),
                    "resources": [
                        {"id": thing["id"], "name": thing["name"], "url": thing["url"] or None}
                        for thing in item.objects.values()
                    ],
                }
                for item in touched
            ],
        }
    }


def _found(request: HttpRequest, session_id: uuid.UUID, *, grant: str | None) -> ImpersonationSession:
    """The session, where ``grant`` on its tenant is held (None: asked elsewhere).

    A foreign one is looked for, and answers, as one that does not exist.
    """
    with platform_scope():
        found = selectors.session_by_id(session_id)
    if grant is not None:
        visit_for(request, tenant_id=found.impersonated_tenant_id if found else NOBODYS, grant=grant)
    if found is None:
        raise NotFound
    return found


def _to_revert(request: HttpRequest, session_id: uuid.UUID) -> ImpersonationSession:
    """The session, for a platform admin with an unbound token or an owner of its tenant; otherwise as if not there."""
    user = caller(request)
    everywhere = is_platform_admin(user) and not only_tenant(request)
    if everywhere:
        _unbound(request)
    found = _found(request, session_id, grant=None if everywhere else Grants.ADMINISTER)
    if not may_revert(found, user):
        raise Forbidden("Only a platform admin or an owner of the customer undoes a session's writes.")
    return found


@in_support_session(NEVER)
@router.get("/platform/impersonate/{session_id}/revert", summary="What undoing a session's writes would come to")
def preview_revert(request: HttpRequest, session_id: uuid.UUID) -> dict[str, Any]:
    """Each thing it did with the values before, after and now, and whether it can be undone."""
    return plan_of(_to_revert(request, session_id)).to_dict()


@in_support_session(NEVER)
@router.post(
    "/platform/impersonate/{session_id}/revert", response={202: dict}, summary="Undo a session's writes, as one job"
)
def revert(request: HttpRequest, session_id: uuid.UUID, body: RevertBody) -> Any:
    """The chosen items or all; the job's result says of each how it ended."""
    operation = start_revert(
        session=_to_revert(request, session_id),
        by=caller(request),
        items=None if body.all else body.items,
        force=body.force,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    job = {
        "id": str(operation.pk),
        "kind": operation.kind,
        "status": operation.status,
        "items": operation.params["items"],
    }
    return Status(202, {"operation": job, "operation_id": str(operation.pk)})


@in_support_session(LEAVES)
@router.post("/platform/impersonate/requests/{request_id}/{answer}", summary="Agree to a request, or turn it down")
def answer(request: HttpRequest, request_id: uuid.UUID, answer: str) -> dict[str, Any]:
    if answer not in ("approve", "decline"):
        raise NotFound
    wish = services.decide(request_id=request_id, by=_unbound(request).user, approve=answer == "approve")
    return {"request": {"id": str(wish.pk), "state": wish.state(clock.now()), "expires_at": wish.expires_at}}


def _policy_row(policy: SupportPolicy) -> dict[str, Any]:
    names = ("access", "write_consent", "longest_minutes", "idle_minutes")
    return {"policy": {name: getattr(policy, name) for name in names}}


@in_support_session(NEVER)
@router.get("/tenants/{tenant}/support-policy", summary="What a customer lets support do")
def get_policy(request: HttpRequest, tenant: str) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=tenant, grant=Grants.VIEW_TRAIL)
    with platform_scope():
        return _policy_row(guardrails.policy_of(visit.tenant))


@in_support_session(NEVER)
@router.put("/tenants/{tenant}/support-policy", summary="Set what support may do")
def put_policy(request: HttpRequest, tenant: str, body: PolicyBody) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=tenant, grant=Grants.ADMINISTER)
    return _policy_row(services.set_policy(tenant=visit.tenant, by=visit.user, **body.dict()))


@in_support_session(LEAVES)
@router.post("/platform/tenants/{tenant}/{what}", summary="revoke-tokens, sign-out, reset-credentials, end-sessions")
def tenant_emergency(request: HttpRequest, tenant: str, what: str, body: ReasonBody | None = None) -> dict[str, Any]:
    user = _admin(request)
    with platform_scope():
        found = _tenant(tenant)
    if found is None or what not in emergency.ACTS:
        raise NotFound
    said = emergency.act(tenant=found, what=what, by=user, reason=body.reason if body else "")
    return {"tenant": found.slug, "done": what, "message": said}
