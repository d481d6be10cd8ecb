"""Every address and method of the console has a rule for support sessions, and none is missing."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from core.support_rules import NEVER, READS, WRITES, Rule, SupportRules, declared, in_support_session
from impersonation.routes import FAMILIES, OF_PACKAGES, addresses, rule_for, rules_of, undeclared
from tenants.pages import platform_page, tenant_page

READING = {"GET", "HEAD", "OPTIONS"}
TENANT = "t/<slug:tenant_slug>/"
API = "api/v1/"


def _of_api() -> dict[str, set[str]]:
    """Route of the API to the methods that its operations take."""
    from opsconsole.api import api

    found: dict[str, set[str]] = {}
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            route = API + re.sub(r"{([^}]+)}", r"<\1>", f"{prefix}{path}".lstrip("/"))
            found.setdefault(route, set()).update(m for operation in view.operations for m in operation.methods)
    return found


API_METHODS = _of_api()


def methods_of(route: str, pattern: URLPattern) -> set[str]:
    """The methods that an address takes, as far as its view tells."""
    return API_METHODS.get(route) or set(getattr(pattern.callback, "methods", ("GET", "POST")))


ALL = list(addresses())


def test_the_apis_operations_are_found() -> None:
    assert set(API_METHODS) <= {route for route, _ in ALL}
    assert {"PUT", "PATCH", "DELETE"} <= set().union(*API_METHODS.values())


def test_every_view_says_what_a_support_session_may_do() -> None:
    missing = sorted(undeclared())
    assert not missing, "\n" + "\n".join(missing)


def test_no_rule_is_for_an_address_of_a_package_that_is_gone() -> None:
    routes = {route for route, _ in ALL}
    assert not set(OF_PACKAGES) - routes
    assert all(any(route.startswith(start) for route in routes) for start, _ in FAMILIES)


def test_a_package_speaks_for_its_own_views_only() -> None:
    """A view of ours below the address of a package says for itself what may be done there."""

    def ours(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert rules_of("account/ours/", ours) is None
    assert rule_for("account/ours/", ours, "GET", {}) is Rule.DENIED


def test_every_method_that_a_tenants_address_takes_is_thought_of() -> None:
    """A method left out of a rule is denied; one that reads must not be left out by mistake."""
    for route, pattern in ALL:
        if not route.startswith((TENANT, API)):
            continue
        for method in methods_of(route, pattern):
            assert rules_of(route, pattern.callback, method) is not None, f"{method} {route}"


@pytest.mark.parametrize(
    "part", ["password", "email", "2fa", "tokens", "members", "admins", "download", "support-policy"]
)
def test_the_deny_list_holds_in_both_modes(part: str) -> None:
    """Nothing under these words is ever done in a session, reading a list of members aside."""
    for route, pattern in ALL:
        words = route.replace("-", "/").split("/") if part != "support-policy" else [route.rpartition("/")[2]]
        if part not in words or "reauthenticate" in route:
            continue
        for method in ("post", "put", "patch", "delete"):
            rules = rules_of(route, pattern.callback, method)
            assert rules is not None
            assert rules.choice(method) in (Rule.DENIED, Rule.LEAVE), f"{method} {route}"


# ---- the declaration itself


def _plain(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("guard", [tenant_page(), platform_page(), _plain])
@pytest.mark.parametrize("is_above", [True, False])
def test_a_declaration_stands_above_or_below_the_guard(guard: Callable[..., Any], is_above: bool) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    say = in_support_session(WRITES)
    assert declared(say(guard(view)) if is_above else guard(say(view))) is WRITES


def test_a_view_that_says_nothing_is_denied() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    for method in ("GET", "POST", "DELETE"):
        assert rule_for(TENANT + "new/", view, method, {}) is Rule.DENIED


@pytest.mark.parametrize("method", ["TRACE", "CHOICE", "RULE", "__class__"])
def test_a_method_that_nobody_thought_of_is_denied(method: str) -> None:
    assert READS.rule(method, {}) is Rule.DENIED


def test_each_endpoint_at_one_address_speaks_for_its_own_method() -> None:
    views = {route: pattern.callback for route, pattern in ALL}
    at = f"{API}environments"
    assert [rules_of(at, views[at], method) for method in ("GET", "HEAD", "POST")] == [READS, READS, NEVER]
    at = f"{API}snapshots"
    assert [rules_of(at, views[at], method) for method in ("GET", "POST")] == [READS, WRITES]


def test_what_is_sent_may_decide() -> None:
    rules = SupportRules(post=lambda sent: Rule.WRITE if sent.get("sure") else Rule.READ)
    assert rules.rule("POST", {"sure": "1"}) is Rule.WRITE
    assert rules.rule("POST", {}) is Rule.READ
