"""The page of a restore: what it would do, what can be chosen, and its beginning."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import Invalid, OpsError
from core.support_rules import READS_AND_WRITES, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed
from workflows.models import WorkflowEnvMap
from workflows.permissions import require_operate
from workflows.stubs import secret_entered, waiting_for_secrets

from . import services
from .approving import may_approve_anything, never_approved, what_to_approve
from .errors import PreviewFailed, RestoreNotConfirmed
from .forms import RestoreForm
from .manifest import ManifestEntry
from .models import Snapshot
from .planning import RestoreOptions
from .preview import previews
from .restore_documents import PlannedWorkflow, RestorePreview
from .sides import snapshot_spec
from .starting import start_restore

LISTED = 100


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"), scope=False)
def snapshot_restore(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """See what a restore would do, choose, confirm. Ticked rows are restored alone; none ticked is everything."""
    found = services.snapshot_by_id(visit.tenant.pk, pk)
    require_operate(visit, found.environment)
    if request.POST.get("entered"):
        return _secret_entered(request, visit, found)
    choices = _Choices.of(request)
    refused: OpsError | None = None
    if choices.confirms:
        try:
            operation = _begin_restore(request, visit, found, choices)
        except Invalid as error:
            refused = error
        else:
            return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)
    shown = _what_would_happen(visit, found, choices)
    with tenant_scope(visit.tenant.pk):
        waiting = waiting_for_secrets(found.environment)
    context = {
        "snapshot": found,
        "environment": found.environment,
        "form": choices.form_for(shown["plan"]),
        "refused": refused,
        "answered": bool(choices.asks_only and shown["plan"]),
        "waiting": waiting,
        "chosen": set(choices.ticked),
        "differences": _differences(visit, found, shown.get("changes", [])),
        "nav_section": "snapshots",
        **shown,
    }
    return render(request, "snapshots/restore.html", context, status=refused.status if refused else 200)


@dataclass(frozen=True, slots=True)
class _Choices:
    """What was chosen on the page: the form, and the keys that are ticked. ``asks_only``: nothing is to be done."""

    form: RestoreForm
    valid: bool
    ticked: list[str]
    posted: bool
    asks_only: bool

    @classmethod
    def of(cls, request: HttpRequest) -> _Choices:
        posted = request.method == "POST"
        asked = request.GET if request.GET.get("asked") else None
        form = RestoreForm(request.POST if posted else asked)
        return cls(
            form=form,
            valid=form.is_bound and form.is_valid(),
            ticked=request.POST.getlist("selected") if posted else [],
            posted=posted,
            asks_only=bool({"look", "dry_run"} & request.POST.keys()),  # the second from a page opened earlier
        )

    @property
    def confirms(self) -> bool:
        return self.posted and self.valid and not self.asks_only

    @property
    def approves(self) -> bool:
        return bool(self.valid and self.form.cleaned_data["approve"])

    @property
    def options(self) -> RestoreOptions:
        """For everything; what is ticked narrows it down."""
        return RestoreOptions.from_params({**(self.form.cleaned_data if self.valid else {}), "keys": None})

    @property
    def options_for_ticked(self) -> RestoreOptions:
        return replace(self.options, keys=frozenset(self.ticked) if self.ticked else None)

    def form_for(self, plan: RestorePreview | None) -> RestoreForm:
        """The form to show. Without problems there is nothing to restore in spite of."""
        form = self.form if self.form.is_bound else RestoreForm()
        if plan is not None and not plan.problems:
            del form.fields["skip_validation"]
        return form


def _begin_restore(request: HttpRequest, visit: Visit, found: Snapshot, choices: _Choices) -> Operation:
    environment = found.environment
    require_typed([environment], request.POST.get("typed", ""), RestoreNotConfirmed)
    if request.POST.get("choice") == "selected" and not choices.ticked:  # as programs and older pages ask
        raise Invalid("No workflow is ticked.", recovery="Tick what is to be restored.")
    options = choices.options_for_ticked
    approves = what_to_approve(
        visit, environment, found, keys=options.keys, asked=choices.approves, as_far_as_allowed=True
    )
    return start_restore(
        tenant_id=visit.tenant.pk,
        environment_id=environment.pk,
        snapshot_id=found.pk,
        requested_by=visit.user,
        options=replace(options, approves=approves),
    )


def _needs_approver(visit: Visit, found: Snapshot, choices: _Choices) -> list[ManifestEntry]:
    """What would be restored without becoming approved, because somebody who may approve has to say so."""
    if may_approve_anything(visit, found.environment):
        return []
    return never_approved(found.environment, found, choices.options_for_ticked.keys)


def _what_would_happen(visit: Visit, found: Snapshot, choices: _Choices) -> dict[str, Any]:
    """What a restore would do to the ticked (or to all), and every row that can be ticked; or why nobody knows."""
    several = [choices.options_for_ticked, choices.options] if choices.ticked else [choices.options]
    try:
        plans = previews(
            tenant_id=visit.tenant.pk, environment_id=found.environment_id, snapshot_id=found.pk, several=several
        )
    except PreviewFailed as error:
        return {"plan": None, "failure": error}
    plan, rows = plans[0].preview(), _rows(plans[-1].preview())
    would = {row.key: row for row in _rows(plan)}
    return {
        "plan": plan,
        "changes": [would.get(row.key, row) for row in rows],
        "left_alone": plan.counts["unchanged"] + plan.counts["skipped"],
        "to_delete": sum(row.effect == "deleted" for row in plan.extra_workflows),
        "extra": plan.extra_workflows[:LISTED],
        "left_out": plan.left_out_workflows[:LISTED],
        "needs_approver": _needs_approver(visit, found, choices)[:LISTED],
        "problems": plan.problems[:LISTED],
        "warnings": plan.warnings[:LISTED],
    }


@dataclass(frozen=True, slots=True)
class _Difference:
    """What a restore changes in one workflow, from what was seen last. ``is_behind``: n8n holds a newer edit."""

    row: PlannedWorkflow
    url: str
    is_behind: bool

    @property
    def ident(self) -> str:
        return f"{self.row.key}-{(self.row.current_hash or '')[:10]}-{self.row.content_hash[:10]}"


def _differences(visit: Visit, found: Snapshot, rows: Sequence[PlannedWorkflow]) -> list[_Difference]:
    environment, shown = found.environment, rows[:LISTED]
    sides = urlencode({"left": environment.seen_version, "right": snapshot_spec(found.pk)})
    with tenant_scope(visit.tenant.pk):
        seen = dict(
            WorkflowEnvMap.objects.filter(
                environment_id=environment.pk, canonical_workflow__key__in=[row.key for row in shown]
            ).values_list("canonical_workflow__key", "env_content_hash")
        )
    return [
        _Difference(
            row,
            f"{reverse('workflow-diff', kwargs={'tenant_slug': visit.tenant.slug, 'key': row.key})}?{sides}",
            row.current_hash is not None and row.current_hash != seen.get(row.key),
        )
        for row in shown
    ]


def _rows(plan: RestorePreview) -> list[PlannedWorkflow]:
    return [*plan.new_workflows, *plan.updated_workflows]


def _secret_entered(request: HttpRequest, visit: Visit, found: Snapshot) -> HttpResponse:
    """A person has given a stub its secret in n8n: what waits for it is published by the next restore."""
    with tenant_scope(visit.tenant.pk):
        count = secret_entered(environment=found.environment, credential_id=request.POST["entered"][:64])
    if count:
        messages.success(request, "Noted. Restore once more: what waited for it is published then.")
    return redirect("snapshot-restore", tenant_slug=visit.tenant.slug, pk=found.pk)
