"""Pages about drift: the list, one incident, settling a selection, the rules, the schedule."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import Invalid, NotFound, OpsError
from core.support_rules import READS, READS_AND_WRITES, WRITES, Rule, Sent, SupportRules, in_support_session
from core.swaps import in_place_of_the_page
from operations.models import Operation
from tenants.models import Grants, Membership
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.identity import key_by_workflow_id
from workflows.models import Environment
from workflows.permissions import may_operate, require_operate
from workflows.presenters import DiffSide, diff_context
from workflows.selectors import why_unknown

from . import contents, keeping, policies, scheduling, selectors, services, upgrade_selectors, wording
from .errors import MadeByUpgrade, NotConfirmed
from .forms import PolicyForm, ScheduleForm
from .models import DriftIncident, DriftKind, DriftScheduler, IncidentState, Severity
from .severity import LEVELS

PER_PAGE = 50
ACTIONS = ("acknowledge", "stabilize", "reconcile")


def _is_partial(request: HttpRequest) -> bool:
    htmx = getattr(request, "htmx", None)
    return bool(htmx and not htmx.boosted and not htmx.history_restore_request)


# -- the list ---------------------------------------------------------------------------------------------------------


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def drift(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Incidents, newest first; standing ones unless asked otherwise."""
    asked = request.GET
    environments = list(Environment.objects.filter(is_archived=False))
    environment = _environment(environments, asked.get("environment", ""))
    keys = [key for key in asked.get("keys", "").split(",") if key][: services.LARGEST_SELECTION]
    filters: dict[str, Any] = {
        "state": asked.get("state", "active"),
        "severity": asked.get("severity", ""),
        "kind": asked.get("kind", ""),
        "expired": asked.get("expired") == "1",
        "q": asked.get("q", "").strip(),
        "environment_id": environment.pk if environment else None,
        "keys": keys,
    }
    narrowed = bool(filters["severity"] or filters["kind"] or filters["expired"] or filters["q"] or environment or keys)
    one_event = not narrowed and filters["state"] == "active"
    page = selectors.page(**filters, grouped=not one_event, cursor=asked.get("cursor", ""), limit=PER_PAGE)
    context = {
        "page": page,
        "rows": [_listed(row) for row in page.rows],
        "counts": selectors.counts(),
        "environments_here": environments,
        "environment": environment,
        "filters": filters,
        "keys": ",".join(keys),
        "states": [("active", "Standing"), *IncidentState.choices, ("all", "Every state")],
        "severities": Severity.choices,
        "kinds": DriftKind.choices,
        "filtered": narrowed,
        "upgrades": upgrade_selectors.standing(environment_id=environment.pk if environment else None),
        "may_settle": visit.may(Grants.OPERATE) or any(may_operate(visit, e) for e in environments),
        "policy": policies.read_policy(visit.tenant.pk),
        "unknown": [(e, why) for e in environments if (why := why_unknown(e))],
        "running": scheduling.is_running(visit.tenant.pk),
        "nav_section": "drift",
    }
    return render(request, "drift/list.html#list" if _is_partial(request) else "drift/list.html", context)


def _environment(environments: Sequence[Environment], named: str) -> Environment | None:
    return next((e for e in environments if named and named in (str(e.pk), e.slug)), None)


def _listed(incident: DriftIncident) -> dict[str, Any]:
    summary = incident.drift_snapshot.get("diff_summary") or {}
    sentences = summary.get("sentences") or [""]
    return {
        "incident": incident,
        "name": selectors.workflow_name(incident),
        "environment": incident.workflow_env_map.environment,
        "headline": sentences[0],
        "more": len(sentences) - 1 + int(summary.get("sentences_left_out") or 0),
        "overdue": selectors.incident_row(incident)["expired"],
    }


# -- one incident -----------------------------------------------------------------------------------------------------


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def incident(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """What changed, why it matters, by when, and what can be done."""
    found = services.incident_by_id(visit.tenant.pk, pk)
    place = found.workflow_env_map
    if request.method == "POST":
        return _act(request, visit, found)
    tenant_id = visit.tenant.pk
    view = request.GET.get("view", "changes")
    with tenant_scope(tenant_id):
        operation = Operation.objects.filter(pk=found.operation_id).first() if found.operation_id else None
        last_failure = found.drift_snapshot.get("last_failure")
        context: dict[str, Any] = {
            "incident": found,
            "row": selectors.incident_row(found, whole=True),
            "name": selectors.workflow_name(found),
            "kind": wording.kind_word(found),
            "stabilizing": wording.stabilizing(found, keeping.foreseen([found]).get(found.pk, ())),
            "kept": wording.standing_for(found) if found.is_active else "",
            "hashes": wording.hashes(found),
            "proven": wording.proof(found),
            "environment": place.environment,
            "summary": found.drift_snapshot.get("diff_summary") or {},
            "stored": found.drift_snapshot.get("full_diff") or {},
            "reasons": found.drift_snapshot.get("reasons") or [],
            "proof": found.drift_snapshot.get("proof") or {},
            "upgrade": found.drift_snapshot.get("upgrade") or {} if found.upgrade_id else {},
            "promotion_id": found.drift_snapshot.get("promotion_id"),
            "history": selectors.history(found),
            "operation": operation,
            "watching": bool(operation and operation.is_open),
            "last_failure": last_failure,
            "policy": policies.read_policy(tenant_id),
            "members": list(Membership.objects.select_related("user").order_by("user__email")[:200]),
            "may_settle": may_operate(visit, place.environment),
            "typed": place.environment.name if place.environment.is_production else "",
            "resolutions": _resolutions(found),
            "view": view,
            "nav_section": "drift",
        }
        live = _is_partial(request) and request.GET.get("part") == "live"
        if live and (operation is None or operation.is_open):
            return render(request, "drift/incident.html#live", context)
        keys = key_by_workflow_id(place.environment_id) if view in ("graph", "raw", "behaviour") else {}
    if view in ("graph", "raw", "behaviour"):
        context |= _compared(found, view, keys)
    answer = render(request, "drift/incident.html", context)
    return in_place_of_the_page(answer) if live else answer


def _compared(found: DriftIncident, view: str, keys: dict[str, str]) -> dict[str, Any]:
    """Both sides from Git, for the overlay. Outside any scope."""
    place = found.workflow_env_map
    key = place.canonical_workflow.key
    read = contents.both_drafts if found.kind == DriftKind.DRAFT else contents.both
    before, after = read(place.environment, found.snapshot_id, [key])
    left = before.get(key) if found.kind != DriftKind.ADDED else None
    right = after.get(key) if found.kind != DriftKind.REMOVED else None
    if left is None and right is None:
        return {"unreadable": True}
    left_label, right_label = wording.sides(found)
    made = diff_context(DiffSide(left, left_label, keys), DiffSide(right, right_label, keys), view=view)
    return {**made, "diff_query": "?"}


def _resolutions(found: DriftIncident) -> list[tuple[str, str]]:
    if not found.is_active:
        return [(found.resolution_type or "other", found.resolution_type.replace("_", " ").capitalize() or "Other")]
    return [(name, text) for name, text in services.RESOLUTIONS.items() if name not in ("reconciled", "stabilized")]


def _act(request: HttpRequest, visit: Visit, found: DriftIncident) -> HttpResponse:
    environment = found.workflow_env_map.environment
    require_operate(visit, environment)
    told, action = request.POST, request.POST.get("action", "")
    here = reverse("drift-incident", kwargs={"tenant_slug": visit.tenant.slug, "pk": found.pk})
    common: dict[str, Any] = {"tenant_id": visit.tenant.pk}
    comment = told.get("comment", "")
    if action == "acknowledge":
        services.acknowledge(
            **common, incident_ids=[found.pk], comment=comment, assigned_to=told.get("assigned_to", ""), by=visit.user
        )
        messages.success(request, "Acknowledged. The clock goes on.")
    elif action == "close":
        services.close(
            **common,
            incident_id=found.pk,
            comment=comment,
            resolution_type=told.get("resolution_type", ""),
            by=visit.user,
        )
        messages.success(request, "Closed.")
    elif action in ("stabilize", "reconcile"):
        _confirmed([environment], told.get("typed", ""))
        _start(action, request, visit, [found.pk])
        messages.info(request, "Under way; this page shows how it ends.")
    else:
        raise Invalid("There is no such action.")
    if getattr(request, "htmx", None):
        return HttpResponse(headers={"HX-Redirect": here})
    return redirect(here)


def _confirmed(environments: Sequence[Environment], typed: str) -> None:
    """Production wants its name, typed; with several, the word ``production``."""
    wanted = _wanted_word(environments)
    if wanted and typed.strip() != wanted:
        raise NotConfirmed(details={"typed": wanted})


def _wanted_word(environments: Sequence[Environment]) -> str:
    names = sorted({e.name for e in environments if e.is_production})
    return "" if not names else names[0] if len(names) == 1 else "production"


def _start(action: str, request: HttpRequest, visit: Visit, incident_ids: Sequence[uuid.UUID]) -> list[Operation]:
    told = request.POST
    asked: dict[str, Any] = {
        "tenant_id": visit.tenant.pk,
        "incident_ids": incident_ids,
        "comment": told.get("comment", ""),
        "requested_by": visit.user,
    }
    if action == "stabilize":
        added = "delete" if told.get("added") == "delete" else "deactivate"
        despite = told.get("despite_upgrade") == "on"
        return services.stabilize(**asked, force=told.get("force") == "on", added=added, despite_upgrade=despite)
    record = told.get("create_promotion_record") == "on"
    return services.reconcile(**asked, update_git=told.get("accept_only") != "on", create_promotion_record=record)


# -- a selection ------------------------------------------------------------------------------------------------------


def _while_supporting(sent: Sent) -> Rule:
    """The page asks by POST what would happen; only the confirmed one does it."""
    return Rule.WRITE if sent.get("confirmed") == "1" else Rule.READ


@in_support_session(SupportRules(get=Rule.READ, post=_while_supporting))
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"))
def settle(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What will happen to each of a selection, then the deed. GET previews and writes nothing."""
    told = request.POST if request.method == "POST" else request.GET
    action = told.get("action", "")
    if action not in ACTIONS:
        raise Invalid("There is no such action.")
    rows = selectors.chosen(_ids(told.getlist("selected")))
    if not rows:
        raise NotFound("None of these incidents exists.", recovery="Go back to the list and select some.")
    for environment in {r.workflow_env_map.environment for r in rows}:
        require_operate(visit, environment)
    standing = [row for row in rows if row.is_active]
    environments = sorted({r.workflow_env_map.environment for r in standing}, key=lambda e: e.position)
    error: OpsError | None = None
    if request.method == "POST" and told.get("confirmed") == "1":
        try:
            return _settle_all(request, visit, action, standing, environments)
        except (NotConfirmed, Invalid, MadeByUpgrade) as refused:
            error = refused
    context = {
        "action": action,
        "by_upgrade": [_listed(row) for row in standing if row.upgrade_id] if action == "stabilize" else [],
        "items": _effects(action, standing),
        "settled": [_listed(row) for row in rows if not row.is_active],
        "environments_here": environments,
        "added": any(row.kind == DriftKind.ADDED for row in standing),
        "typed": _wanted_word(environments) if action != "acknowledge" else "",
        "told": told,
        "error": error,
        "nav_section": "drift",
    }
    return render(request, "drift/settle.html", context, status=error.status if error else 200)


def _ids(given: Sequence[str]) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(value) for value in given[: services.LARGEST_SELECTION]]
    except ValueError as error:
        raise NotFound from error


def _settle_all(
    request: HttpRequest,
    visit: Visit,
    action: str,
    rows: Sequence[DriftIncident],
    environments: Sequence[Environment],
) -> HttpResponse:
    ids = [row.pk for row in rows]
    slug = visit.tenant.slug
    if action == "acknowledge":
        services.acknowledge(
            tenant_id=visit.tenant.pk, incident_ids=ids, comment=request.POST.get("comment", ""), by=visit.user
        )
        messages.success(request, f"{len(ids)} acknowledged. The clocks go on.")
        return redirect("drift", tenant_slug=slug)
    _confirmed(environments, request.POST.get("typed", ""))
    started = _start(action, request, visit, ids)
    messages.info(request, f"Under way in {len(started)} job{'' if len(started) == 1 else 's'}.")
    if len(started) == 1:
        return redirect("job", tenant_slug=slug, pk=started[0].pk)
    return redirect("jobs", tenant_slug=slug)


_RECONCILING = {
    DriftKind.MODIFIED: "What is there now becomes what is approved; n8n is not touched.",
    DriftKind.REMOVED: "It is no longer approved; n8n is not touched.",
    DriftKind.ADDED: "It becomes approved as it is; n8n is not touched.",
    DriftKind.ACTIVATION: "Its being published or unpublished becomes approved; n8n is not touched.",
    DriftKind.ARCHIVED: "Its being archived or not becomes approved; n8n is not touched.",
    DriftKind.DRAFT: "The draft becomes approved beside what runs; n8n is not touched.",
    DriftKind.DETAILS: "Tags, folder and settings become approved as they are; n8n is not touched.",
}


def _effects(action: str, incidents: Sequence[DriftIncident]) -> list[dict[str, Any]]:
    kept = keeping.foreseen(incidents) if action == "stabilize" else {}
    return [_effect(action, row, kept.get(row.pk, ())) for row in incidents]


def _told_effect(action: str, incident: DriftIncident, callers: Sequence[str]) -> str:
    if action == "stabilize":
        return wording.stabilizing(incident, callers)
    if action == "reconcile":
        return _RECONCILING[DriftKind(incident.kind)]
    return "It is marked as looked into; nothing else changes."


def _effect(action: str, incident: DriftIncident, callers: Sequence[str]) -> dict[str, Any]:
    effect = _told_effect(action, incident, callers)
    breaks = (incident.drift_snapshot.get("upgrade") or {}).get("breaks", "") if incident.upgrade_id else ""
    return {**_listed(incident), "effect": f"{effect} {breaks}" if action == "stabilize" and breaks else effect}


# -- rules and schedule -----------------------------------------------------------------------------------------------


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.ADMINISTER, methods=("GET", "HEAD", "POST"))
def policy(request: HttpRequest, visit: Visit) -> HttpResponse:
    """How long drift may stand and what it stops."""
    current = policies.read_policy(visit.tenant.pk)
    form = PolicyForm(request.POST) if request.method == "POST" else PolicyForm.of(current)
    if request.method == "POST" and form.is_valid():
        policies.save_policy(
            tenant_id=visit.tenant.pk,
            enforce_ttl=form.cleaned_data["enforce_ttl"],
            block_on_active_drift=form.cleaned_data["block_on_active_drift"],
            hours=form.hours(),
        )
        messages.success(request, "Saved. The clocks of standing incidents follow the new times.")
        return redirect("drift-policy", tenant_slug=visit.tenant.slug)
    context = {
        "form": form,
        "may_change": visit.may(Grants.ADMINISTER),
        "counts": selectors.counts(),
        "levels": list(reversed(LEVELS)),
        "nav_section": "drift",
    }
    return render(request, "drift/policy.html", context, status=422 if form.errors else 200)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("GET", "HEAD", "POST"))
def schedule(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Whether and how often each environment is checked, and how the last check ended."""
    known = DriftScheduler.objects.select_related("stopped_by").filter(tenant_id=visit.tenant.pk).first()
    scheduler = known or DriftScheduler(tenant=visit.tenant)
    if request.method == "POST":
        form = ScheduleForm(request.POST)
        if form.is_valid():
            scheduling.set_scheduler(
                tenant_id=visit.tenant.pk,
                is_running=form.cleaned_data["is_running"],
                every_seconds=form.cleaned_data["every_minutes"] * 60,
                by=visit.user,
            )
            messages.success(request, "Saved.")
            return redirect("drift-schedule", tenant_slug=visit.tenant.slug)
    else:
        minutes = max(scheduler.every_seconds // 60, 1)
        form = ScheduleForm(initial={"is_running": scheduler.is_running, "every_minutes": minutes})
    context = {
        "form": form,
        "scheduler": scheduler,
        "rows": scheduling.status(visit.tenant.pk),
        "may_change": visit.may(Grants.OPERATE),
        "nav_section": "drift",
    }
    return render(request, "drift/schedule.html", context, status=422 if form.errors else 200)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, methods=("POST",))
def check(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Look for drift now, in one environment or in all."""
    named = request.POST.get("environment", "")
    environments = list(Environment.objects.filter(is_archived=False))
    chosen = [e for e in environments if named in ("", str(e.pk), e.slug)]
    if not chosen:
        raise NotFound
    started, held = [], []
    for environment in chosen:
        require_operate(visit, environment)
        try:
            started.append(
                services.start_check(tenant_id=visit.tenant.pk, environment_id=environment.pk, requested_by=visit.user)
            )
        except OpsError as error:
            held.append(f"{environment.name}: {error.message}")
    for sentence in held:
        messages.warning(request, sentence)
    if len(started) == 1:
        return redirect("job", tenant_slug=visit.tenant.slug, pk=started[0].pk)
    if started:
        messages.info(request, f"{len(started)} environments are being checked.")
    return redirect("drift-schedule", tenant_slug=visit.tenant.slug)
