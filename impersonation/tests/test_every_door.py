"""Every address and method of the console, asked by everybody: anonymous, each role, another tenant's owner, staff, and
a support session that reads, that writes, and that has ended. What must come is computed from what each address says of
itself; an address without an expectation fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from core.support_rules import Rule
from impersonation import services
from impersonation.models import ImpersonationSession, Mode
from impersonation.routes import rule_for
from impersonation.tests.conftest import at_browser
from impersonation.tests.test_routes import ALL, API, TENANT, methods_of
from operations import services as operations
from tenants.models import TenantRole
from tenants.permissions import role_grants
from tenants.scope import platform_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db
NOBODYS = "00000000-0000-4000-8000-000000000000"
VALUES = {"tenant_slug": "acme", "environment_slug": "none", "key": "none", "tenant": "acme"}
#: Open to everybody: signing in, health, and what says only that the console is there.
OPEN_TO_ALL = re.compile(
    r"^(health|metrics|demo/progress|api/|account/\^|account/(login|signup|password/reset|confirm-email|inactive|reauth|logout|invitations))"
)


@pytest.fixture(autouse=True)
def _a_worker_is_there(db: None) -> None:
    """Without one the health addresses say that the console is not well."""
    operations.beat(name="reaper")


def path_of(route: str) -> str:
    """An address with something in every place; ids are nobody's."""

    def fill(match: re.Match[str]) -> str:
        kind, _, name = match[1].rpartition(":")
        return VALUES.get(name) or {"int": "1", "uuid": NOBODYS, "": NOBODYS}.get(kind, "none")

    path = route.replace(r"(?P<pk>[0-9a-f-]{36})", NOBODYS)
    path = re.sub(r"\(\?P<\w+>([a-z]*)[^)]*\)", lambda match: match[1] or "x", path)
    return "/" + re.sub(r"<([^<>]+)>", fill, path).replace("^", "").replace("$", "")


DOORS = [
    (route, method, path_of(route), pattern)
    for route, pattern in {route: (route, pattern) for route, pattern in ALL}.values()
    for method in sorted(methods_of(route, pattern) - {"HEAD", "OPTIONS"})
    if not route.startswith("admin/") or route == "admin/"
]


def knock(client: Any, method: str, path: str, *, token: str = "") -> HttpResponse:
    """One request whose effects are taken back."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    with transaction.atomic():
        kind = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
        data = "{}" if kind.endswith("json") else ""
        body = {} if method == "GET" else {"data": data, "content_type": kind}
        answer = getattr(client, method.lower())(path, headers=headers, **body)
        transaction.set_rollback(True)
    client.cookies.clear()
    client.cookies.load(cookies)
    return answer  # type: ignore[no-any-return]


def code_of(answer: Any) -> str:
    """The IMP code of an answer, or ''."""
    if getattr(answer, "streaming", False):
        return ""
    if answer.get("Content-Type", "").startswith("application/json"):
        try:
            error = json.loads(answer.content).get("error", {})
        except (ValueError, AttributeError):
            return ""
        return str(error.get("code", "")) if isinstance(error, dict) else ""
    found = re.search(r"<code>(IMP_\d+)</code>", answer.content.decode(errors="replace"))
    return found[1] if found else ""


def at_login(answer: Any) -> bool:
    return answer.status_code == 302 and answer["Location"].startswith("/account/login/")


def walk(check: Callable[[str, str, str, Any], str], doors: Any = DOORS) -> None:
    """Ask at every door; ``check`` says what is wrong, or ''."""
    wrong = [said for door in doors if (said := check(*door))]
    assert not wrong, "\n" + "\n".join(wrong)


def test_there_are_doors_of_every_kind() -> None:
    assert len(DOORS) > 150
    assert {m for _, m, _, _ in DOORS} >= {"GET", "POST", "PATCH", "DELETE"}


def test_anonymous(db: None) -> None:
    def check(route: str, method: str, path: str, _pattern: Any) -> str:
        answer = knock(Client(), method, path)
        if route.startswith(API) and "healthz" not in route and "status" not in route:
            public = route.removeprefix(API) in ("docs", "openapi.json", "", "sse/deployments", "sse/background-jobs")
            return "" if public or answer.status_code == 401 else f"{method} {path}: {answer.status_code}, not 401"
        if OPEN_TO_ALL.match(route):
            return "" if answer.status_code < 500 else f"{method} {path}: {answer.status_code}"
        shut = at_login(answer) or answer.status_code in (401, 403, 405) or "/login/" in answer.get("Location", "")
        return "" if shut else f"{method} {path}: {answer.status_code}, not the sign-in"

    walk(check)


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "owner"])
def test_roles_in_the_tenant(cast: Any, role: str) -> None:
    client, grants = at_browser(getattr(cast, role)), role_grants(TenantRole(role))

    def check(route: str, method: str, path: str, pattern: Any) -> str:
        if not route.startswith(TENANT):
            return ""
        needed = getattr(pattern.callback, "tenant_grant" if method == "GET" else "write_grant", "view_tenant")
        answer = knock(client, method, path)
        if needed not in grants:
            return "" if answer.status_code == 403 else f"{method} {path}: {answer.status_code}, not 403"
        if at_login(answer) or answer.status_code >= 500:
            return f"{method} {path}: {answer.status_code}"
        refused = answer.status_code == 403 and method == "GET" and needed != "view_tenant"
        return f"{method} {path}: {answer.status_code}, though {needed} is held" if refused else ""

    walk(check)


@pytest.mark.parametrize("who", ["stranger", "support"])
def test_nobody_of_this_tenant(cast: Any, who: str) -> None:
    """Another tenant's owner, and staff without a session, find nothing there."""
    client = at_browser(getattr(cast, who))

    def check(route: str, method: str, path: str, _pattern: Any) -> str:
        if not route.startswith(TENANT):
            return ""
        answer = knock(client, method, path)
        return "" if answer.status_code == 404 else f"{method} {path}: {answer.status_code}, not 404"

    walk(check)


@pytest.mark.parametrize("who", ["viewer", "owner", "stranger"])
def test_members_on_the_platforms_pages(cast: Any, who: str) -> None:
    """What is the platform's is shut to members of tenants, except their own lists."""
    own = {"platform/jobs/", "platform/support/mine/", "platform/support/mine/<str:what>/"}
    client = at_browser(getattr(cast, who))

    def check(route: str, method: str, path: str, _pattern: Any) -> str:
        if not route.startswith(("platform/", "^platform/", "admin/")) or route in own:
            return ""
        answer = knock(client, method, path)
        shut = answer.status_code in (302, 403, 404)
        return "" if shut else f"{method} {path}: {answer.status_code}"

    walk(check)


@pytest.mark.parametrize("who", ["viewer", "operator", "owner", "stranger", "admin", "support", "officer"])
def test_tokens_at_the_api(cast: Any, who: str) -> None:
    """Nobody's ids are not found, bodies are wanted, and no token of a member does the platform's work."""
    _, token = create_token(user=getattr(cast, who), name="walk")
    platform = ("platform/", "tenants/<tenant>/support-policy")

    def check(route: str, method: str, path: str, _pattern: Any) -> str:
        if not route.startswith(API):
            return ""
        answer = knock(Client(), method, path, token=token)
        if answer.status_code == 401 or answer.status_code >= 500:
            return f"{method} {path}: {answer.status_code}"
        ours = route.removeprefix(API).startswith(platform) and who in ("viewer", "operator", "stranger")
        wanted = (403, 404, 422, 200) if method == "GET" or "stop" in route else (403, 404, 422)
        return f"{method} {path}: {answer.status_code}" if ours and answer.status_code not in wanted else ""

    walk(check)


CODES = {Rule.LEAVE: "IMP_010", Rule.DENIED: "IMP_006", Rule.WRITE: "IMP_005"}


def expected_code(route: str, method: str, view: Any, *, writes: bool) -> str:
    """The code that a session's request must get: '' where the session lets it through."""
    rule = rule_for(route, view, method, {})
    return "" if rule is Rule.WRITE and writes else CODES.get(rule, "")


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("place", ["viewer", "owner"])
def test_a_session_at_the_pages(cast: Any, begin: Any, place: str, writes: bool) -> None:
    client, _ = begin(target=getattr(cast, place), write=writes)

    def check(route: str, method: str, path: str, pattern: Any) -> str:
        if route.startswith("api/"):
            return ""
        answer, wanted = knock(client, method, path), expected_code(route, method, pattern.callback, writes=writes)
        if code_of(answer) != wanted and not (not wanted and code_of(answer) in OWN_CODES):
            return f"{method} {path}: {answer.status_code} {code_of(answer)}, not {wanted or 'let through'}"
        if wanted and answer.status_code != 403:
            return f"{method} {path}: {answer.status_code} with {wanted}"
        return f"{method} {path}: {answer.status_code}" if answer.status_code >= 500 else ""

    walk(check)


#: What the session's own pages may say of themselves.
OWN_CODES = frozenset({"IMP_002", "IMP_008", "IMP_009"})


@pytest.mark.parametrize("writes", [False, True])
def test_a_session_at_the_api(cast: Any, writes: bool) -> None:
    token, secret = create_token(user=cast.support, name="walk")
    session = services.start_session(
        actor=cast.support, target=cast.owner, tenant=cast.tenant, reason="Labels come out twice",
        origin=services.RequestOrigin(token_id=token.pk),
    )  # fmt: skip
    if writes:
        with platform_scope():
            ImpersonationSession.objects.filter(pk=session.pk).update(mode=Mode.WRITE)
    allowed = OWN_CODES | {"IMP_001", "IMP_003", "IMP_012", "IMP_013"}

    def check(route: str, method: str, path: str, pattern: Any) -> str:
        if not route.startswith(API) or route.removeprefix(API).startswith(("sse/", "docs", "openapi")):
            return ""
        if route == API or "healthz" in route or route.endswith("jobs/status"):
            return ""
        answer = knock(Client(), method, path, token=secret)
        wanted = expected_code(route, method, pattern.callback, writes=writes)
        code = code_of(answer) if code_of(answer).startswith("IMP") else ""
        if code != wanted and not (not wanted and code in allowed):
            return f"{method} {path}: {answer.status_code} {code}, not {wanted or 'let through'}"
        return f"{method} {path}: {answer.status_code}" if answer.status_code >= 500 else ""

    walk(check)


def test_an_ended_session(cast: Any, begin: Any) -> None:
    """Once it has ended, the person is who they are: nobody in this tenant."""
    client, session = begin(write=True)
    services.end_session(session_id=session.pk, by=cast.admin, reason="over")
    client.get("/t/acme/")

    def check(route: str, method: str, path: str, _pattern: Any) -> str:
        if not route.startswith(TENANT):
            return ""
        answer = knock(client, method, path)
        return "" if answer.status_code == 404 else f"{method} {path}: {answer.status_code}, not 404"

    walk(check)
