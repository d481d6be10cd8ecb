"""Every address and method of the console has a rule for support sessions, and none is missing."""

from __future__ import annotations

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


def methods_of(pattern: URLPattern) -> set[str]:
    """The methods that an address takes, as far as its view tells."""
    view: Any = pattern.callback
    path_view = getattr(view, "__self__", None) or getattr(getattr(view, "__wrapped__", None), "__self__", None)
    if path_view is not None and hasattr(path_view, "operations"):
        return {method for operation in path_view.operations for method in operation.methods}
    return set(getattr(view, "methods", ("GET", "POST")))


ALL = list(addresses())


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
        for method in methods_of(pattern) - READING:
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
