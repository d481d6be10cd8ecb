"""Every address and method of the console has a rule for support sessions, and none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from impersonation.routes import API, ROUTES, TENANT, Rule, route_of

READING = {"GET", "HEAD", "OPTIONS"}


def addresses(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every pattern with its route, as ``request.resolver_match.route`` prints it."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route)
        else:
            yield route, pattern


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


def test_every_address_has_a_rule() -> None:
    missing = sorted({route for route, _ in ALL if route_of(route) is None})
    assert not missing, f"say in impersonation/routes.py what a support session may do at: {missing}"


def test_no_rule_is_for_an_address_that_is_gone() -> None:
    assert not set(ROUTES) - {route for route, _ in ALL}


def test_every_method_that_a_tenants_address_takes_is_thought_of() -> None:
    """A method left out of a rule is denied; one that reads must not be left out by mistake."""
    for route, pattern in ALL:
        if not route.startswith((TENANT, API)):
            continue
        rules = route_of(route)
        assert rules is not None
        for method in methods_of(route, pattern) - READING:
            assert isinstance(getattr(rules, method.lower()), Rule) or callable(getattr(rules, method.lower()))


@pytest.mark.parametrize(
    "part", ["password", "email", "2fa", "tokens", "members", "admins", "download", "support-policy"]
)
def test_the_deny_list_holds_in_both_modes(part: str) -> None:
    """Nothing under these words is ever done in a session, reading a list of members aside."""
    for route, _ in ALL:
        words = route.replace("-", "/").split("/") if part != "support-policy" else [route.rpartition("/")[2]]
        if part not in words or "reauthenticate" in route:
            continue
        rules = route_of(route)
        assert rules is not None
        for method in ("post", "put", "patch", "delete"):
            assert getattr(rules, method) in (Rule.DENIED, Rule.LEAVE), f"{method} {route}"
