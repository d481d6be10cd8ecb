"""Pages about upgrades of n8n: the list, and one upgrade with what it changed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import Invalid, OpsError
from core.support_rules import READS, READS_AND_WRITES, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed
from workflows.models import Environment
from workflows.permissions import may_operate, require_operate
from workflows.upgrading import RULES, UpgradeChange

from . import services, upgrade_selectors
from .errors import SettlingNotConfirmed
from .models import DriftIncident, N8nUpgrade

PER_PAGE = 50
SHOWN = 500


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def upgrades(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Upgrades that were noticed, newest first."""
    environments = list(Environment.objects.filter(is_archived=False))
    named = request.GET.get("environment", "")
    environment = next((e for e in environments if named and named in (str(e.pk), e.slug)), None)
    page = upgrade_selectors.page(
        environment_id=environment.pk if environment else None, cursor=request.GET.get("cursor", ""), limit=PER_PAGE
    )
    standing = {s.upgrade.pk: s for s in upgrade_selectors.standing(upgrade_ids=[row.pk for row in page.rows])}
    context = {
        "page": page,
        "rows": [{"upgrade": row, "standing": standing.get(row.pk)} for row in page.rows],
        "environments_here": environments,
        "environment": environment,
        "nav_section": "drift",
    }
    return render(request, "drift/upgrades.html", context)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def upgrade(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """What an upgrade changed, who made each change, and one button that approves what n8n made."""
    with tenant_scope(visit.tenant.pk):
        found = upgrade_selectors.upgrade_by_id(pk)
    error: OpsError | None = None
    if request.method == "POST":
        require_operate(visit, found.environment)
        try:
            return _approve(request, visit, found)
        except SettlingNotConfirmed as refused:
            error = refused
    with tenant_scope(visit.tenant.pk):
        context = _context(request, visit, found)
    return render(request, "drift/upgrade.html", {**context, "error": error}, status=error.status if error else 200)


def _approve(request: HttpRequest, visit: Visit, found: N8nUpgrade) -> HttpResponse:
    if request.POST.get("action") != "approve":
        raise Invalid("There is no such action.")
    require_typed([found.environment], request.POST.get("typed", ""), SettlingNotConfirmed)
    operation = services.approve_upgrade(
        tenant_id=visit.tenant.pk,
        upgrade_id=found.pk,
        comment=request.POST.get("comment", ""),
        requested_by=visit.user,
    )
    messages.info(request, "Under way: everything that n8n changed is approved in one job.")
    return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)


@dataclass(frozen=True, slots=True)
class _ChangeFilter:
    """Which changes of an upgrade are shown; empty: any. ``by``: n8n or people."""

    by: str
    rule: str
    q: str

    @classmethod
    def of(cls, request: HttpRequest) -> _ChangeFilter:
        return cls(request.GET.get("by", ""), request.GET.get("rule", ""), request.GET.get("q", ""))

    @property
    def is_narrowed(self) -> bool:
        return bool(self.by or self.rule or self.q.strip())

    def fits(self, change: UpgradeChange) -> bool:
        text = self.q.strip().lower()
        return (
            self.by in ("", change.made_by)
            and self.rule in ("", change.rule)
            and (text in change.name.lower() or text in change.key)
        )


def _context(request: HttpRequest, visit: Visit, found: N8nUpgrade) -> dict[str, Any]:
    filters = _ChangeFilter.of(request)
    standing = upgrade_selectors.standing(upgrade_ids=[found.pk])
    operation = Operation.objects.filter(pk=found.operation_id).first() if found.operation_id else None
    return {
        "upgrade": found,
        "environment": found.environment,
        "standing": standing[0] if standing else None,
        "filters": filters,
        "filtered": filters.is_narrowed,
        "operation": operation,
        "watching": bool(operation and operation.is_open),
        "may_settle": may_operate(visit, found.environment),
        "typed": found.environment.name if found.environment.is_production else "",
        "nav_section": "drift",
        **_changes(found, filters),
    }


def _changes(found: N8nUpgrade, filters: _ChangeFilter) -> dict[str, Any]:
    """The changes that are shown, each with its incident, and what they can be filtered by."""
    changes = upgrade_selectors.changes_of(found)
    incidents = upgrade_selectors.incidents_of(found)
    shown = [change for change in changes if filters.fits(change)]
    rules = {change.rule for change in changes}
    return {
        "rows": [_row(change, incidents.get(change.key)) for change in shown[:SHOWN]],
        "left_out": max(len(shown) - SHOWN, 0),
        "rules": [(name, label) for name, label in RULES.items() if name in rules],
        "grave": [change for change in changes if change.made_by == "n8n" and change.effect in ("high", "critical")],
    }


def _row(change: UpgradeChange, incident: DriftIncident | None) -> dict[str, Any]:
    return {"change": change, "rule": upgrade_selectors.rule_in_words(change.rule), "incident": incident}
