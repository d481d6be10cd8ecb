"""Pages about drift: the list, and one incident."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from core.days import by_day
from core.errors import Invalid
from core.htmx import is_partial
from core.support_rules import READS, READS_AND_WRITES, in_support_session
from core.swaps import in_place_of_the_page
from operations.models import Operation
from snapshots.selectors import set_aside_by_environment
from tenants.models import Grants, Membership
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed, word_for
from workflows.models import Environment
from workflows.permissions import may_operate, require_operate
from workflows.presenters import VIEWS, TextOptions
from workflows.selectors import why_unknown

from . import comments, incident_diff, keeping, policies, scheduling, selectors, services, upgrade_selectors, wording
from .errors import SettlingNotConfirmed
from .incident_list import listed
from .models import DriftIncident, DriftKind, IncidentState, Severity
from .selectors import IncidentFilter
from .settling_views import start

PER_PAGE = 50
SET_ASIDE_NAMED = 3
HISTORY = "history"


# -- the list ---------------------------------------------------------------------------------------------------------


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def drift(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Incidents: the standing ones by deadline and severity, any others newest first."""
    environments = list(Environment.objects.filter(is_archived=False))
    environment = _environment(environments, request.GET.get("environment", ""))
    asked = _filter(request.GET, environment)
    read = selectors.most_urgent if asked.state == "active" else selectors.page
    page = read(asked, cursor=request.GET.get("cursor", ""), limit=PER_PAGE)
    context = {
        "page": page,
        "rows": [listed(row) for row in page.rows],
        "counts": selectors.counts(environment_id=asked.environment_id),
        "environments_here": environments,
        "environment": environment,
        "filters": asked,
        "keys": ",".join(asked.keys),
        "states": [("active", "Standing"), *IncidentState.choices, ("all", "Every state")],
        "severities": Severity.choices,
        "kinds": DriftKind.choices,
        "filtered": asked.is_narrowed,
        "upgrades": upgrade_selectors.standing(environment_id=asked.environment_id),
        "may_settle": visit.may(Grants.OPERATE) or any(may_operate(visit, e) for e in environments),
        "policy": policies.read_policy(visit.tenant.pk),
        "unknown": _not_known(environments),
        "running": scheduling.is_running(visit.tenant.pk),
        "nav_section": "drift",
    }
    if is_partial(request):
        return render(request, "drift/list.html#list", context)
    here = {"workflow_env_map__environment_id": asked.environment_id} if asked.environment_id else {}
    return render(request, "drift/list.html", context | {"found_by_day": by_day(DriftIncident.objects.filter(**here))})


def _not_known(environments: Sequence[Environment]) -> list[tuple[Environment, str]]:
    """Environments of which not all is known, and why, as a clause."""
    aside = set_aside_by_environment(environments)
    found = []
    for environment in environments:
        why = why_unknown(environment)
        if not why and environment.pk in aside:
            names = ", ".join(f"“{finding.label}”" for finding in aside[environment.pk][:SET_ASIDE_NAMED])
            why = f"{names} could not be captured"
        if why:
            found.append((environment, why))
    return found


def _environment(environments: Sequence[Environment], named: str) -> Environment | None:
    return next((e for e in environments if named and named in (str(e.pk), e.slug)), None)


def _filter(sent: QueryDict, environment: Environment | None) -> IncidentFilter:
    """What the list shows. What an upgrade of n8n changed is one event, unless the list is narrowed down."""
    asked = IncidentFilter(
        state=sent.get("state", "active"),
        severity=sent.get("severity", ""),
        kind=sent.get("kind", ""),
        expired=sent.get("expired") == "1",
        q=sent.get("q", "").strip(),
        environment_id=environment.pk if environment else None,
        keys=[key for key in sent.get("keys", "").split(",") if key][: services.LARGEST_SELECTION],
    )
    return replace(asked, grouped=asked.is_narrowed or asked.state != "active")


# -- one incident -----------------------------------------------------------------------------------------------------


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def incident(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """What changed, why it matters, by when, and what can be done."""
    found = services.incident_by_id(visit.tenant.pk, pk)
    if request.method == "POST":
        return _act(request, visit, found)
    view = _view(request.GET.get("view", ""))
    live = is_partial(request) and request.GET.get("part") == "live"
    with tenant_scope(visit.tenant.pk):
        context = {**_shown(visit, found), "view": view, "nav_section": "drift"}
        if live and (context["operation"] is None or context["watching"]):
            return render(request, "drift/incident.html#live", context)
    context["discussion"] = said = comments.discussion(visit, found)
    if view != HISTORY:
        shown = incident_diff.context(visit, found, view, TextOptions.read(request.GET))
        context |= {**shown, "other_threads": comments.beside(said, shown)}
    answer = render(request, "drift/incident.html", context)
    return in_place_of_the_page(answer) if live else answer


def _view(asked: str) -> str:
    return asked if asked in (*VIEWS, HISTORY) else "words"


def _shown(visit: Visit, found: DriftIncident) -> dict[str, Any]:
    """What the page of an incident shows. Needs the tenant's scope."""
    operation = Operation.objects.filter(pk=found.operation_id).first() if found.operation_id else None
    environment, details = found.workflow_env_map.environment, found.details
    return {
        "incident": found,
        "row": selectors.incident_row(found, whole=True),
        "details": details,
        "name": selectors.workflow_name(found),
        "kind": wording.kind_word(found),
        "stabilizing": wording.stabilizing(found, keeping.foreseen([found]).get(found.pk, ())),
        "kept": wording.standing_for(found) if found.is_active else "",
        "hashes": wording.hashes(found),
        "proven": wording.proof(found),
        "environment": environment,
        "editor_url": _in_n8n(found),
        "upgrade": details.upgrade if found.upgrade_id else None,
        "history": selectors.history(found),
        "operation": operation,
        "watching": bool(operation and operation.is_open),
        "policy": policies.read_policy(visit.tenant.pk),
        "members": list(Membership.objects.select_related("user").order_by("user__email")[:200]),
        "may_settle": may_operate(visit, environment),
        "typed": word_for([environment]),
        "resolutions": _resolutions(found),
    }


def _in_n8n(found: DriftIncident) -> str:
    """Where n8n's editor shows the workflow, unless it is gone."""
    mapping = found.workflow_env_map
    return "" if found.kind == DriftKind.REMOVED else mapping.environment.editor_url(mapping.env_workflow_id)


def _resolutions(found: DriftIncident) -> list[tuple[str, str]]:
    if not found.is_active:
        return [(found.resolution_type or "other", found.resolution_type.replace("_", " ").capitalize() or "Other")]
    return [(name, text) for name, text in services.RESOLUTIONS.items() if name not in ("reconciled", "stabilized")]


def _act(request: HttpRequest, visit: Visit, found: DriftIncident) -> HttpResponse:
    environment = found.workflow_env_map.environment
    require_operate(visit, environment)
    form, action = request.POST, request.POST.get("action", "")
    tenant_id, comment = visit.tenant.pk, form.get("comment", "")
    match action:
        case "acknowledge":
            who = form.get("assigned_to", "")
            services.acknowledge(
                tenant_id=tenant_id, incident_ids=[found.pk], comment=comment, assigned_to=who, by=visit.user
            )
            messages.success(request, "Acknowledged. The clock goes on.")
        case "close":
            resolution = form.get("resolution_type", "")
            services.close(
                tenant_id=tenant_id, incident_id=found.pk, comment=comment, resolution_type=resolution, by=visit.user
            )
            messages.success(request, "Closed.")
        case "stabilize" | "reconcile":
            require_typed([environment], form.get("typed", ""), SettlingNotConfirmed)
            start(action, request, visit, [found.pk])
            messages.info(request, "Under way; this page shows how it ends.")
        case _:
            raise Invalid("There is no such action.")
    here = reverse("drift-incident", kwargs={"tenant_slug": visit.tenant.slug, "pk": found.pk})
    if getattr(request, "htmx", None):
        return HttpResponse(headers={"HX-Redirect": here})
    return redirect(here)
