"""Pages about how drift is looked for: the policy, the schedule, and a check at once."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import NotFound, OpsError
from core.support_rules import READS_AND_WRITES, WRITES, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from workflows.models import Environment
from workflows.permissions import require_operate

from . import policies, scheduling, selectors, services
from .forms import PolicyForm, ScheduleForm
from .models import DriftScheduler
from .severity import LEVELS


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
    chosen = [e for e in Environment.objects.filter(is_archived=False) if named in ("", str(e.pk), e.slug)]
    if not chosen:
        raise NotFound
    started = _start_checks(request, visit, chosen)
    if len(started) == 1:
        return redirect("job", tenant_slug=visit.tenant.slug, pk=started[0].pk)
    if started:
        messages.info(request, f"{len(started)} environments are being checked.")
    return redirect("drift-schedule", tenant_slug=visit.tenant.slug)


def _start_checks(request: HttpRequest, visit: Visit, environments: Sequence[Environment]) -> list[Operation]:
    """Start a check of each; why one cannot be checked now is said on the next page."""
    started, refusals = [], []
    for environment in environments:
        require_operate(visit, environment)
        try:
            started.append(
                services.start_check(tenant_id=visit.tenant.pk, environment_id=environment.pk, requested_by=visit.user)
            )
        except OpsError as error:
            refusals.append(f"{environment.name}: {error.message}")
    for sentence in refusals:
        messages.warning(request, sentence)
    return started
