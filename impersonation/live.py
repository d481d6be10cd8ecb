"""The session of a request: read in one query, activated, and recorded in the trail."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from django.db import connection
from django.http import HttpRequest
from django.urls import Resolver404, resolve, reverse
from django.utils.http import escape_leading_slashes

from audit.services import record_event
from core import context, support
from core.errors import OpsError
from core.support import InForce
from core.support_rules import Rule
from tenants.models import Tenant, User
from tenants.scope import platform_scope

from .errors import LeaveFirst, NeverInSession, SupportReadOnly
from .models import Mode
from .routes import View, rule_for
from .services import digest

#: The key in the browser's sign-in that says that there may be a session. Only the row proves it.
HINT = "support_session"
SEEN_EVERY_SECONDS = 30
LARGEST_BODY = 8192


@dataclass(frozen=True, slots=True)
class Live:
    """A session as one request sees it. ``over`` says why it has ended ('' while it is live)."""

    id: uuid.UUID
    actor: str
    actor_id: uuid.UUID
    user: User
    tenant: Tenant
    mode: str
    reason: str
    ticket: str
    break_glass: bool
    started_at: datetime
    expires_at: datetime
    over: str

    @property
    def acting_as(self) -> str:
        return str(self.user)

    @property
    def writes(self) -> bool:
        return self.mode == Mode.WRITE

    @property
    def url(self) -> str:
        return reverse("support-session", kwargs={"pk": self.id})

    @property
    def mine_url(self) -> str:
        return reverse("support-mine")

    @property
    def end_url(self) -> str:
        return reverse("support-mine-act", kwargs={"what": "end"})

    @property
    def home_url(self) -> str:
        return reverse("tenant-home", kwargs={"tenant_slug": self.tenant.slug})

    @property
    def limits(self) -> str:
        """What is disabled on the pages of this session, for the person in it."""
        if self.writes:
            return "You may write. What is reserved for the customer's own people stays disabled."
        return (
            "Read only: what would change something is disabled. Write mode enables it, except what is reserved for "
            "the customer's own people."
        )

    def in_force(self) -> InForce:
        return InForce(session_id=self.id, tenant_id=self.tenant.pk, mode=self.mode)

    def rule_of(self, path: str, method: str, sent: Mapping[str, str]) -> Rule:
        """The rule for a request with these form fields. Raises ``LeaveFirst``, ``NeverInSession`` or
        ``SupportReadOnly`` where it is refused.
        """
        target = _target_of(path)
        if target is None:
            raise LeaveFirst
        route, view, slug = target
        rule = rule_for(route, view, method, sent)
        if rule is Rule.DENIED:
            raise NeverInSession
        if rule is Rule.LEAVE or slug not in (None, self.tenant.slug):
            raise LeaveFirst
        if rule is Rule.WRITE and not self.writes:
            raise SupportReadOnly
        return rule

    def why_not(self, path: str, method: str = "GET", sent: Mapping[str, str] | None = None) -> str:
        """Why a link or a form is disabled in this session, as a sentence; '' where it is not."""
        try:
            self.rule_of(path, method, sent or {})
        except OpsError as refusal:
            return refusal.message
        return ""


@lru_cache(maxsize=2048)
def _target_of(path: str) -> tuple[str, View, str | None] | None:
    """The route, the view and the tenant's slug of a path; None where there is no page."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    return match.route, match.func, match.kwargs.get("tenant_slug")


COLUMNS = (
    "id", "actor_user_id", "actor_email", "actor_name", "tenant_id", "tenant_slug", "tenant_name", "tenant_status",
    "user_id", "user_email", "user_name", "user_role", "mode", "reason", "ticket", "break_glass", "started_at",
    "expires_at", "why_over",
)  # fmt: skip


def read(
    *,
    actor_id: uuid.UUID,
    session_id: uuid.UUID | None = None,
    session_key: str = "",
    token_id: uuid.UUID | None = None,
    touch: bool = True,
) -> Live | None:
    """The session of this sign-in or token, live or ended. One query, no scope. ``touch`` counts as use."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(COLUMNS)} FROM opsconsole_support_session(%s, %s, %s, %s, %s)",  # noqa: S608 -- ours
            [session_id, actor_id, digest(session_key), token_id, SEEN_EVERY_SECONDS if touch else -1],
        )
        row = cursor.fetchone()
    return _live(dict(zip(COLUMNS, row, strict=True))) if row else None


def _live(row: Mapping[str, Any]) -> Live:
    user = User(
        id=row["user_id"], email=row["user_email"], name=row["user_name"], role=row["user_role"], is_active=True
    )
    user.set_unusable_password()
    tenant = Tenant(id=row["tenant_id"], slug=row["tenant_slug"], name=row["tenant_name"], status=row["tenant_status"])
    for instance in (user, tenant):
        instance._state.adding, instance._state.db = False, "default"
    return Live(
        id=row["id"],
        actor=row["actor_name"] or row["actor_email"],
        actor_id=row["actor_user_id"],
        user=user,
        tenant=tenant,
        mode=row["mode"],
        reason=row["reason"],
        ticket=row["ticket"],
        break_glass=row["break_glass"],
        started_at=row["started_at"],
        expires_at=row["expires_at"],
        over=row["why_over"] or "",
    )


class SessionContext:
    """Activates a session for a request and restores the context afterwards.

    By values and not by tokens: under ASGI the two may happen in different copies of the context.
    """

    def __init__(self) -> None:
        self._before: context.ActionContext | None = None

    def take(self, live: Live) -> None:
        self._before = context.current()
        support.set_current(live.in_force())
        context.set_current(
            replace(self._before, actor_id=live.actor_id, acting_as_id=live.user.pk, session_id=live.id)
        )

    def release(self) -> None:
        if self._before is not None:
            support.set_current(None)
            context.set_current(self._before)


# ---- the trail of a request

WRITING = {"POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}
_SECRET = re.compile(r"pass(word|phrase)|secret|token|api_?key|authori[sz]ation|cookie|credential_data|mfa_code|^code$")


def record_request(request: HttpRequest, live: Live, *, status: int, refused: str = "", reading: bool = True) -> None:
    """One event for one request of a session: READ, the write that it asked for, or REFUSED.

    In the session's context, but not limited by it: the trail is written by the console.
    """
    details: dict[str, Any] = {
        "method": request.method,
        "path": masked_path(request),
        "response_status": status,
        "mode": live.mode,
    }
    action = "READ" if reading else WRITING.get(request.method or "", "READ")
    if refused:
        action, details["code"] = "REFUSED", refused
    if request.method in WRITING:
        details["request_body"] = masked_body(request)
    within = context.acting(actor_id=live.actor_id, acting_as_id=live.user.pk, session_id=live.id)
    with support.suspended(), within, platform_scope():
        record_event(action=action, resource_type="requests", tenant_id=live.tenant.pk, details=details)


def masked_path(request: HttpRequest) -> str:
    """The requested address, up to 500 characters. The customer reads it: secrets in its query are masked, and so are
    addresses of the person's own account, which may be keys (a link for choosing a password).
    """
    if request.path.startswith("/account/"):
        return "/account/…"
    query, path = request.GET.copy(), escape_leading_slashes(request.path)
    for name in query:
        if _SECRET.search(name.lower()):
            query[name] = "masked"
    return f"{path}?{query.urlencode()}"[:500] if query else path[:500]


def masked_body(request: HttpRequest) -> Any:
    """What was sent, with secrets masked and long texts cut."""
    if request.content_type == "application/json":
        try:
            return _masked(orjson.loads(request.body[: LARGEST_BODY * 8] or b"{}"))
        except (orjson.JSONDecodeError, ValueError):
            return {"unreadable": True}
    fields = {name: values if len(values) > 1 else values[0] for name, values in request.POST.lists() if values}
    fields.pop("csrfmiddlewaretoken", None)
    return _masked(fields)


def _masked(value: Any, depth: int = 0) -> Any:
    if depth > 4:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(name)[:80]: "masked" if _SECRET.search(str(name).lower()) else _masked(item, depth + 1)
            for name, item in list(value.items())[:60]
        }
    if isinstance(value, list):
        return [_masked(item, depth + 1) for item in value[:60]]
    return value[:500] if isinstance(value, str) else value
