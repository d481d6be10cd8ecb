"""What a support session may do at each address and method of the console: every one is named here.

A test walks the URLconf and the API and fails for an address that is missing; at run time a missing one is denied.
An address is its route as Django prints it (``request.resolver_match.route``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What happens to a request made in a support session."""

    READ = "read"  #: in both modes, as the customer's user
    WRITE = "write"  #: in write mode only, as the customer's user
    DENIED = "denied"  #: never: it belongs to the customer's own people
    LEAVE = "leave"  #: the platform's and the person's own pages: end the session first
    OUTSIDE = "outside"  #: as the person that one is, with the session not in force (ending it, health, signing out)


#: A rule, or what decides by the fields of the form that is sent.
Choice = Rule | Callable[[Mapping[str, str]], Rule]


@dataclass(frozen=True, slots=True)
class Route:
    """The rules of one address: GET (HEAD and OPTIONS with it) and each other method that it takes."""

    get: Choice = Rule.DENIED
    post: Choice = Rule.DENIED
    put: Choice = Rule.DENIED
    patch: Choice = Rule.DENIED
    delete: Choice = Rule.DENIED


READS = Route(get=Rule.READ)
WRITES = Route(post=Rule.WRITE)
READS_AND_WRITES = Route(get=Rule.READ, post=Rule.WRITE)
READS_ONLY = Route(get=Rule.READ, post=Rule.DENIED)
NEVER = Route()
LEAVES = Route(get=Rule.LEAVE, post=Rule.LEAVE, put=Rule.LEAVE, patch=Rule.LEAVE, delete=Rule.LEAVE)
FREE = Route(get=Rule.OUTSIDE, post=Rule.OUTSIDE, delete=Rule.OUTSIDE)


def _promotion_act(sent: Mapping[str, str]) -> Rule:
    """An approval is the customer's own word, and so is that a target left half-way is good; support gives neither."""
    return Rule.DENIED if sent.get("action") in ("approve", "reject", "release") else Rule.WRITE


def _settle(sent: Mapping[str, str]) -> Rule:
    """The page asks by POST what would happen; only the confirmed one does it."""
    return Rule.WRITE if sent.get("confirmed") == "1" else Rule.READ


TENANT = "t/<slug:tenant_slug>/"
API = "api/v1/"

_TENANT_PAGES: dict[str, Route] = {
    "members/": READS_ONLY,
    "members/<uuid:user_id>/": READS_ONLY,
    "members/<uuid:user_id>/role/": NEVER,
    "members/<uuid:user_id>/remove/": NEVER,
    "tokens/": NEVER,
    "tokens/<uuid:pk>/revoke/": NEVER,
    "tokens/<uuid:pk>/rotate/": NEVER,
    "tokens/service-accounts/": NEVER,
    "settings/": READS_ONLY,
    "trail/": READS,
    "trail/<int:pk>/": READS,
    "trail/export/": NEVER,
    "jobs/": READS,
    "jobs/<uuid:pk>/": READS,
    "jobs/<uuid:pk>/cancel/": WRITES,
    "jobs/<uuid:pk>/retry/": WRITES,
    "jobs/<uuid:pk>/give-up/": WRITES,
    "jobs/<uuid:pk>/events/": READS,
    "": READS,
    "matrix/go/": Route(get=Rule.READ, post=Rule.READ),
    "environments/": READS,
    "environments/new/": NEVER,
    "environments/<uuid:pk>/": READS,
    "environments/<slug:environment_slug>/": READS,
    "environments/<uuid:pk>/edit/": NEVER,
    "environments/<uuid:pk>/archive/": NEVER,
    "environments/<uuid:pk>/test/": WRITES,
    "environments/<uuid:pk>/mapping/": READS_AND_WRITES,
    "environments/<uuid:pk>/executions/": READS,
    "environments/<uuid:pk>/executions/read/": WRITES,
    "environments/<uuid:pk>/executions/retry/": READS_AND_WRITES,
    "environments/<uuid:pk>/rehearsals/": READS_AND_WRITES,
    "rehearsals/<uuid:pk>/": READS,
    "rehearsals/<uuid:pk>/csv/": NEVER,
    "credentials/": READS_AND_WRITES,
    "credentials/enter/": NEVER,
    "drift/": READS,
    "drift/policy/": READS_AND_WRITES,
    "drift/schedule/": READS_AND_WRITES,
    "drift/check/": WRITES,
    "drift/settle/": Route(get=Rule.READ, post=_settle),
    "drift/upgrades/": READS,
    "drift/upgrades/<uuid:pk>/": READS_AND_WRITES,
    "drift/<uuid:pk>/": READS_AND_WRITES,
    "snapshots/": READS,
    "snapshots/push/": WRITES,
    "snapshots/new/": READS_AND_WRITES,
    "snapshots/<uuid:pk>/": READS,
    "snapshots/<uuid:pk>/verify/": WRITES,
    "snapshots/<uuid:pk>/download/": NEVER,
    "snapshots/<uuid:pk>/compare/": READS,
    "snapshots/<uuid:pk>/restore/": READS_AND_WRITES,
    "promotions/": READS,
    "promotions/new/": READS_AND_WRITES,
    "promotions/credential/": WRITES,
    "promotions/<uuid:pk>/": Route(get=Rule.READ, post=_promotion_act),
    "promotions/<uuid:pk>/events/": READS,
    "workflows/<slug:key>/": READS,
    "workflows/<slug:key>/diff/": READS,
    "reports/": NEVER,
    "reports/<slug:name>/": NEVER,
    "reports/<slug:name>/schedule/": NEVER,
    "reports/schedules/<uuid:pk>/": NEVER,
    "reports/runs/<uuid:pk>/": NEVER,
    "reports/runs/<uuid:pk>/download/": NEVER,
    "reports/runs/<uuid:pk>/manifest/": NEVER,
    "reports/runs/<uuid:pk>/<str:what>/": NEVER,
    "emergency/": NEVER,
    "support/": NEVER,
    "support/policy/": NEVER,
    "support/requests/<uuid:pk>/": NEVER,
    "support/sessions/<uuid:pk>/": NEVER,
    "support/sessions/<uuid:pk>/events/": NEVER,
    "support/sessions/<uuid:pk>/end/": NEVER,
    "support/sessions/<uuid:pk>/revert/": NEVER,
}
_API: dict[str, Route] = {
    "tenants": READS,
    "platform/admins/<user_id>": NEVER,
    "tokens/current": NEVER,
    "tokens/current/rotate": NEVER,
    "operations": READS,
    "operations/<operation_id>": READS,
    "operations/<operation_id>/cancel": WRITES,
    "operations/<operation_id>/retry": WRITES,
    "background-jobs": LEAVES,
    "audit-logs": READS,
    "audit/events": NEVER,
    "reports": NEVER,
    "reports/<name>": NEVER,
    "reports/runs": NEVER,
    "reports/runs/<run_id>": NEVER,
    "reports/runs/<run_id>/download": NEVER,
    "reports/runs/<run_id>/verify": NEVER,
    "environments": Route(get=Rule.READ, post=Rule.DENIED),
    "environments/<environment_id>": Route(get=Rule.READ, patch=Rule.DENIED),
    "environments/<environment_id>/test-connection": WRITES,
    "environments/<environment_id>/surroundings": READS,
    "environments/<environment_id>/workflows": READS,
    "environments/<environment_id>/watched": READS,
    "executions": READS,
    "executions/retry": WRITES,
    "incidents": READS,
    "incidents/<incident_id>": READS,
    "incidents/<incident_id>/acknowledge": WRITES,
    "incidents/<incident_id>/stabilize": WRITES,
    "incidents/<incident_id>/reconcile": WRITES,
    "incidents/<incident_id>/close": WRITES,
    "environments/<environment_id>/drift-check": WRITES,
    "environments/<environment_id>/upgrades": READS,
    "environments/<environment_id>/rehearsals": READS_AND_WRITES,
    "rehearsals/<rehearsal_id>": READS,
    "rehearsals/<rehearsal_id>/csv": NEVER,
    "upgrades/<upgrade_id>": READS,
    "upgrades/<upgrade_id>/approve": WRITES,
    "drift/schedulers/stop-all": NEVER,
    "snapshots": READS_AND_WRITES,
    "snapshots/<snapshot_id>": READS,
    "snapshots/<snapshot_id>/verify": WRITES,
    "restore/<environment_id>/preview": READS,
    "restore/<environment_id>/execute": WRITES,
    "promotions/compare": READS,
    "promotions": READS_AND_WRITES,
    "promotions/<promotion_id>": READS,
    "promotions/execute/<promotion_id>": WRITES,
    "promotions/<promotion_id>/submit": WRITES,
    "promotions/<promotion_id>/replan": WRITES,
    "promotions/<promotion_id>/repair": WRITES,
    "promotions/<promotion_id>/prepare": WRITES,
    "promotions/<promotion_id>/test-credentials": WRITES,
    "promotions/<promotion_id>/approve": NEVER,
    "promotions/<promotion_id>/reject": NEVER,
    "promotions/<promotion_id>/cancel": WRITES,
    "promotions/<promotion_id>/rollback": WRITES,
    "promotions/<promotion_id>/release": NEVER,
    "platform/impersonate": FREE,
    "platform/impersonate/stop": FREE,
    "platform/impersonate/stop-all": LEAVES,
    "platform/impersonate/extend": FREE,
    "platform/impersonate/write": FREE,
    "platform/impersonate/sessions": LEAVES,
    "platform/impersonate/sessions/<session_id>": LEAVES,
    "platform/impersonate/<session_id>/revert": NEVER,
    "platform/impersonate/requests/<request_id>/<answer>": LEAVES,
    "platform/tenants/<tenant>/<what>": LEAVES,
    "tenants/<tenant>/support-policy": NEVER,
    "docs": FREE,
    "openapi.json": FREE,
    "": FREE,
    "background-jobs/status": FREE,
    "sse/deployments": LEAVES,
    "sse/background-jobs": LEAVES,
    **{f"{name}/healthz": FREE for name in ("promotions", "drift_detection", "snapshots", "restore")},
}
_OTHERS: dict[str, Route] = {
    "": LEAVES,
    "command": LEAVES,
    "styleguide": LEAVES,
    "health": FREE,
    "api/health": FREE,
    "health/detailed": FREE,
    "api/workflows/health": FREE,
    "account/logout/": FREE,
    "account/reauthenticate/": FREE,
    "account/2fa/reauthenticate/": FREE,
    "account/2fa/webauthn/reauthenticate/": FREE,
    "platform/support/": LEAVES,
    "platform/support/start/": FREE,
    "platform/support/mine/": FREE,
    "platform/support/mine/<str:what>/": FREE,
    "platform/support/sessions/<uuid:pk>/": FREE,
    "platform/support/sessions/<uuid:pk>/events/": FREE,
    "platform/support/sessions/<uuid:pk>/end/": LEAVES,
    "platform/support/sessions/<uuid:pk>/revert/": LEAVES,
    "platform/support/end-all/": LEAVES,
    "platform/support/requests/<uuid:pk>/": LEAVES,
}
ROUTES: dict[str, Route] = {
    **{TENANT + path: route for path, route in _TENANT_PAGES.items()},
    **{API + path: route for path, route in _API.items()},
    **_OTHERS,
}
#: Whole families in which nothing is open during a session, whatever a package adds to them.
FAMILIES = ("admin/", "account/", "platform/", "^platform/")


def route_of(route: str) -> Route | None:
    """The rules of an address, or None where nobody has thought of it."""
    if route in ROUTES:
        return ROUTES[route]
    return LEAVES if route.startswith(FAMILIES) and not route.startswith("platform/support/") else None


def rule_for(route: str, method: str, sent: Mapping[str, str]) -> Rule:
    """What a session may do there with this method and these fields of a form."""
    rules = route_of(route)
    if rules is None:
        return Rule.DENIED
    method = method.lower()
    choice = getattr(rules, "get" if method in ("get", "head", "options") else method, Rule.DENIED)
    return choice if isinstance(choice, Rule) else choice(sent)
