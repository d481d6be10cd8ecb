"""What a support session may do at an address: what its view declares (``core.support_rules``), or, for the views of
packages, what is listed here. An address in neither is denied.

An address is its route as Django prints it (``request.resolver_match.route``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from core.support_rules import LEAVES, OUTSIDE, Rule, Sent, SupportRules, declared, endpoints, place_of

View = Callable[..., Any]

#: Addresses of packages that are open during a session.
OF_PACKAGES: dict[str, SupportRules] = {
    "account/logout/": OUTSIDE,
    "account/reauthenticate/": OUTSIDE,
    "account/2fa/reauthenticate/": OUTSIDE,
    "account/2fa/webauthn/reauthenticate/": OUTSIDE,
    "api/v1/": OUTSIDE,
    "api/v1/openapi.json": OUTSIDE,
}
#: Families that are closed otherwise, whatever a package adds: the beginning of the route, and of the view's module.
FAMILIES = (("account/", "allauth."), ("admin/", ""))


def rules_of(route: str, view: View, method: str = "GET") -> SupportRules | None:
    """The rules of an address for a method; None where there are none."""
    return declared(view, method) or _of_package(route, view)


def rule_for(route: str, view: View, method: str, sent: Sent) -> Rule:
    """What a session may do there with this method and these form fields."""
    rules = rules_of(route, view, method)
    return Rule.DENIED if rules is None else rules.rule(method, sent)


def _of_package(route: str, view: View) -> SupportRules | None:
    module = getattr(view, "__module__", "")
    if route in OF_PACKAGES:
        return OF_PACKAGES[route]
    return LEAVES if any(route.startswith(start) and module.startswith(whose) for start, whose in FAMILIES) else None


def addresses(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address of the console with its pattern."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route)
        else:
            yield route, pattern


def undeclared() -> Iterator[str]:
    """A sentence for each view without rules, with where it is defined."""
    for route, pattern in addresses():
        for view in endpoints(pattern.callback):
            if rules_of(route, view) is None:
                yield f"{place_of(view)} (/{route}): the view does not say what a support session may do there."
