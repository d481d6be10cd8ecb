"""Settling incidents from pages: what would happen to a selection, the confirmation, and the deed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render

from core.errors import Invalid, NotFound, OpsError
from core.ids import uuid_or_not_found
from core.support_rules import Rule, Sent, SupportRules, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from workflows.confirmation import require_typed, word_for
from workflows.models import Environment
from workflows.permissions import require_operate

from . import keeping, selectors, services, wording
from .errors import MadeByUpgrade, SettlingNotConfirmed
from .incident_list import ListedIncident, listed
from .models import DriftIncident, DriftKind

ACTIONS = ("acknowledge", "stabilize", "reconcile")


def start(action: str, request: HttpRequest, visit: Visit, incident_ids: Sequence[uuid.UUID]) -> list[Operation]:
    """Start the jobs that a form asks for."""
    form = request.POST
    if action == "stabilize":
        return services.stabilize(
            tenant_id=visit.tenant.pk,
            incident_ids=incident_ids,
            comment=form.get("comment", ""),
            options=services.StabilizeOptions(
                force=form.get("force") == "on",
                added="delete" if form.get("added") == "delete" else "deactivate",
                despite_upgrade=form.get("despite_upgrade") == "on",
            ),
            requested_by=visit.user,
        )
    return services.reconcile(
        tenant_id=visit.tenant.pk,
        incident_ids=incident_ids,
        comment=form.get("comment", ""),
        update_git=form.get("accept_only") != "on",
        create_promotion_record=form.get("create_promotion_record") == "on",
        requested_by=visit.user,
    )


def _while_supporting(sent: Sent) -> Rule:
    """The page asks by POST what would happen; only the confirmed one does it."""
    return Rule.WRITE if sent.get("confirmed") == "1" else Rule.READ


@in_support_session(SupportRules(get=Rule.READ, post=_while_supporting))
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"))
def settle(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What will happen to each of a selection, then the deed. GET previews and writes nothing."""
    sent = request.POST if request.method == "POST" else request.GET
    selection = _Selection.of(sent, visit)
    error: OpsError | None = None
    if request.method == "POST" and sent.get("confirmed") == "1":
        try:
            return _settle_all(request, visit, selection)
        except (Invalid, MadeByUpgrade) as refused:
            error = refused
    context = {
        "action": selection.action,
        "by_upgrade": [listed(row) for row in selection.made_by_upgrade],
        "items": _effects(selection),
        "settled": [listed(row) for row in selection.rows if not row.is_active],
        "environments_here": selection.environments,
        "added": any(row.kind == DriftKind.ADDED for row in selection.standing),
        "typed": word_for(selection.environments) if selection.action != "acknowledge" else "",
        "submitted": sent,
        "error": error,
        "nav_section": "drift",
    }
    return render(request, "drift/settle.html", context, status=error.status if error else 200)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Incidents that were chosen, and what is to be done with them."""

    action: str
    rows: list[DriftIncident]

    @classmethod
    def of(cls, sent: QueryDict, visit: Visit) -> _Selection:
        """Raises ``Invalid``, ``NotFound``, and ``Forbidden`` where one of them is in an environment of others."""
        action = sent.get("action", "")
        if action not in ACTIONS:
            raise Invalid("There is no such action.")
        rows = selectors.chosen(_ids(sent.getlist("selected")))
        if not rows:
            raise NotFound("None of these incidents exists.", recovery="Go back to the list and select some.")
        for environment in {row.workflow_env_map.environment for row in rows}:
            require_operate(visit, environment)
        return cls(action, rows)

    @property
    def standing(self) -> list[DriftIncident]:
        return [row for row in self.rows if row.is_active]

    @property
    def made_by_upgrade(self) -> list[DriftIncident]:
        """What stabilizing would put back although n8n itself changed it."""
        return [row for row in self.standing if row.upgrade_id] if self.action == "stabilize" else []

    @property
    def environments(self) -> list[Environment]:
        """Those that it concerns, in pipeline order."""
        return sorted({row.workflow_env_map.environment for row in self.standing}, key=lambda e: e.position)


def _ids(given: Sequence[str]) -> list[uuid.UUID]:
    return [uuid_or_not_found(value) for value in given[: services.LARGEST_SELECTION]]


def _settle_all(request: HttpRequest, visit: Visit, selection: _Selection) -> HttpResponse:
    ids = [row.pk for row in selection.standing]
    slug = visit.tenant.slug
    if selection.action == "acknowledge":
        services.acknowledge(
            tenant_id=visit.tenant.pk, incident_ids=ids, comment=request.POST.get("comment", ""), by=visit.user
        )
        messages.success(request, f"{len(ids)} acknowledged. The clocks go on.")
        return redirect("drift", tenant_slug=slug)
    require_typed(selection.environments, request.POST.get("typed", ""), SettlingNotConfirmed)
    started = start(selection.action, request, visit, ids)
    messages.info(request, f"Under way in {len(started)} job{'' if len(started) == 1 else 's'}.")
    if len(started) == 1:
        return redirect("job", tenant_slug=slug, pk=started[0].pk)
    return redirect("jobs", tenant_slug=slug)


def _effects(selection: _Selection) -> list[ListedIncident]:
    standing = selection.standing
    kept = keeping.foreseen(standing) if selection.action == "stabilize" else {}
    return [listed(row, effect=_effect(selection.action, row, kept.get(row.pk, ()))) for row in standing]


def _effect(action: str, incident: DriftIncident, callers: Sequence[str]) -> str:
    """What the action does to an incident, in a sentence or two."""
    if action == "reconcile":
        return wording.reconciling(incident)
    if action != "stabilize":
        return "It is marked as looked into; nothing else changes."
    effect = wording.stabilizing(incident, callers)
    breaks = services.breaks_of(incident) if incident.upgrade_id else ""
    return f"{effect} {breaks}" if breaks else effect
