"""The matrix and the pages of environments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse

from core.declarations import EnvironmentPart
from core.errors import Conflict, Invalid
from core.htmx import is_partial
from core.registry import registry
from core.support_rules import NEVER, READS, WRITES, Rule, SupportRules, in_support_session
from core.swaps import in_place_of_the_page
from operations.models import Operation, Schedule
from operations.summaries import with_small_results
from tenants.models import Grants
from tenants.pages import Visit, tenant_page

from . import guard_changes, matrix_list, selectors, services, surroundings
from .access import only_in
from .access_views import WORDS
from .changes import changes_of
from .executions.presenting import of_environment, with_runs
from .forms import EnvironmentForm
from .guards import waiting
from .models import Environment, EnvironmentKind
from .n8n.report import read_report
from .permissions import may_approve, may_operate, require_operate
from .presenters import abilities, key_scopes, report_steps
from .uses import using
from .watching import selectors as watching

PAGE_ROWS = 50
LARGEST_PAGE = 100
SELECTED_AT_MOST = 200


def url_if(name: str, **kwargs: Any) -> str:
    """The address of a page of an app above, or '' where it is not there."""
    try:
        return reverse(name, kwargs=kwargs)
    except NoReverseMatch:
        return ""


def _limit(request: HttpRequest) -> int:
    try:
        return max(1, min(int(request.GET.get("limit") or PAGE_ROWS), LARGEST_PAGE))
    except ValueError:
        return PAGE_ROWS


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def matrix(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The tenant's home: every workflow in every environment."""
    uses = using(request.GET.get("uses", "")[:200])
    asked = matrix_list.Asked.read(request.GET, uses.condition)
    found = selectors.matrix(asked, cursor=request.GET.get("cursor", ""), limit=_limit(request))
    found = replace(found, rows=with_runs(found.rows))
    context = {
        "matrix": found,
        "groups": found.groups(asked.group),
        "environments": found.columns,
        "asked": asked,
        "orders": matrix_list.ORDERS,
        "states": [(name, found.counts.get(name, 0)) for name in matrix_list.STATES],
        "unknown": [(e, why) for e in found.columns if (why := selectors.why_unknown(e))],
        "may_operate": visit.may(Grants.OPERATE),
        "may_manage": visit.may(Grants.MANAGE_ENVIRONMENTS),
        "filtered": asked.is_narrowed or bool(uses.asked),
        "uses": uses,
        "home_parts": _home_parts(visit.tenant.pk),
        "nav_section": "tenant-home",
    }
    return render(request, "workflows/matrix.html#list" if is_partial(request) else "workflows/matrix.html", context)


def _home_parts(tenant_id: uuid.UUID) -> list[tuple[str, Mapping[str, Any]]]:
    """(template, facts) of what apps show above the matrix."""
    found = ((part.template, part.facts(tenant_id)) for part in registry.home_parts())
    return [(template, facts) for template, facts in found if facts is not None]


@in_support_session(SupportRules(get=Rule.READ, post=Rule.READ))
@tenant_page(Grants.VIEW)
def matrix_go(request: HttpRequest, visit: Visit) -> HttpResponse:
    """From a selection in the matrix to the page that acts on it. Writes nothing."""
    keys = list(dict.fromkeys(request.GET.getlist("selected")))[:SELECTED_AT_MOST]
    by_slug = {environment.slug: environment for environment in selectors.environments()}
    source, target = by_slug.get(request.GET.get("source", "")), by_slug.get(request.GET.get("target", ""))
    action = request.GET.get("action", "")
    if action in ("compare", "promote"):
        destination = _between(action, source, target, keys)
    elif target is not None and action in _IN_TARGET:
        destination = _IN_TARGET[action](target, keys)
    else:
        raise Invalid("There is no such action.")
    address = url_if(destination.url_name, tenant_slug=visit.tenant.slug, **destination.kwargs)
    if not address:
        raise Invalid("That page is not part of this installation.")
    return redirect(f"{address}?{urlencode(destination.query)}")


@dataclass(frozen=True, slots=True)
class _NextPage:
    """A page that acts on a selection in the matrix."""

    url_name: str
    query: dict[str, str]
    kwargs: dict[str, str] = field(default_factory=dict)


def _between(action: str, source: Environment | None, target: Environment | None, keys: list[str]) -> _NextPage:
    if source is None or target is None or source.pk == target.pk:
        raise Invalid("Choose two different environments.", recovery="Set From and To beside the buttons.")
    if action == "compare" and len(keys) == 1:
        return _NextPage("workflow-diff", {"left": target.seen_version, "right": source.seen_version}, {"key": keys[0]})
    query = {"source": str(source.pk), "target": str(target.pk), "keys": ",".join(keys)}
    return _NextPage("promotion-create", query)


#: The actions of the matrix on one environment.
_IN_TARGET: dict[str, Callable[[Environment, list[str]], _NextPage]] = {
    "capture": lambda target, _keys: _NextPage("snapshot-create", {"environment": str(target.pk)}),
    "stabilize": lambda target, keys: _NextPage("drift", {"environment": str(target.pk), "keys": ",".join(keys)}),
}


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def environments(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The environments in the order of the pipeline."""
    counts = selectors.environment_counts()
    archived = request.GET.get("archived") == "1"
    rows = [
        {"environment": e, "counts": counts.get(e.pk, {}), "why": selectors.why_unknown(e)}
        for e in selectors.environments(archived=archived)
    ]
    context = {"rows": rows, "archived": archived, "may_manage": visit.may(Grants.MANAGE_ENVIRONMENTS)}
    return render(request, "workflows/environments.html", {**context, "nav_section": "environments"})


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def environment_by_slug(request: HttpRequest, visit: Visit, environment_slug: str) -> HttpResponse:
    """Redirect from the short name to the page, for people who type addresses."""
    found = Environment.objects.filter(slug=environment_slug).values_list("pk", flat=True).first()
    pk = found or uuid.UUID(int=0)
    selectors.environment_or_404(pk)
    return redirect("environment", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def environment(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """One environment: its connection, its contents and its actions."""
    found = selectors.environment_or_404(pk)
    operate = may_operate(visit, found)
    context = {
        "environment": found,
        "counts": selectors.environment_counts().get(pk, {}),
        "changes": changes_of(pk, tenant_slug=visit.tenant.slug, period=request.GET.get("since", "")),
        "why": selectors.why_unknown(found),
        **_connection(visit, found),
        **of_environment(found),
        "environment_parts": _environment_parts(pk),
        "watched": watching.of_environment(found),
        "watched_url": "?part=watched",
        "schedule": Schedule.objects.filter(name=services.capture_schedule_name(found), is_enabled=True).first(),
        "recent": with_small_results(Operation.objects.filter(environment_id=pk)).order_by("-created_at")[:8],
        "may_manage": visit.may(Grants.MANAGE_ENVIRONMENTS),
        "may_operate": operate,
        "only_here": [(user, [WORDS[grant][0].lower() for grant in held]) for user, held in only_in(found)],
        "why_not": "" if operate else "Your role does not allow work in this environment.",
        "why_no_baseline": _why_no_baseline(visit, found, operate),
        "nav_section": "environments",
    }
    whole = "workflows/environment.html"
    if not is_partial(request):
        return render(request, whole, context)
    if request.GET.get("part") == "watched":
        return render(request, f"{whole}#watched", context)
    if context["testing"]:
        return render(request, f"{whole}#connection", context)
    return in_place_of_the_page(render(request, whole, context))


def _environment_parts(environment_id: uuid.UUID) -> list[tuple[str, Mapping[str, Any]]]:
    """(template, facts) of what apps show of it."""
    parts: list[EnvironmentPart] = [part for _, part in registry.every("environment_parts")]
    found = ((part.template, part.facts(environment_id)) for part in sorted(parts, key=lambda part: part.position))
    return [(template, facts) for template, facts in found if facts is not None]


def _connection(visit: Visit, environment: Environment) -> dict[str, Any]:
    """The last test of the connection, and what the instance and the API key allow."""
    test = Operation.objects.filter(kind=services.TEST_KIND, environment_id=environment.pk)
    latest = test.order_by("-created_at").first()
    report = read_report(environment.connection_report)
    around = surroundings.stored(visit.tenant.pk, environment.pk)
    scopes = key_scopes(around.scopes)
    return {
        "report": report,
        "steps": report_steps(report),
        "abilities": abilities(environment),
        "scopes": scopes,
        "scopes_missing": any(not scope.can for scope in scopes),
        "around": around,
        "test": latest,
        "testing": bool(latest and latest.is_open),
    }


def _why_no_baseline(visit: Visit, found: Environment, operate: bool) -> str:
    """Why the visitor cannot approve what the environment holds; empty where that is possible."""
    if not operate:
        return "Your role does not allow work in this environment."
    if found.is_production and found.baseline_commit_sha and not may_approve(visit, found):
        return "What is in production now becomes approved only by somebody who may approve."
    return ""


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, methods=("POST",))
def environment_test(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Start a test of the connection."""
    found = selectors.environment_or_404(pk)
    if not visit.may(Grants.MANAGE_ENVIRONMENTS):
        require_operate(visit, found)
    services.start_test_connection(tenant_id=visit.tenant.pk, environment_id=pk, requested_by=visit.user)
    messages.info(request, "The connection is being tested.")
    return redirect("environment", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_ENVIRONMENTS, methods=("GET", "HEAD", "POST"))
def environment_create(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Add an environment; its connection is tested at once."""
    form = EnvironmentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = services.create_environment(
                tenant_id=visit.tenant.pk,
                name=data["name"],
                slug=data["slug"],
                kind=data["kind"],
                base_url=data["base_url"],
                api_key=data["api_key"],
                position=data["position"],
            )
        except (Invalid, Conflict) as error:
            form.take_in(error.details, error.message)
        else:
            _after_saving(request, visit, made, data["capture_every"], f"{made.name} was added.", is_new=True)
            return redirect("environment", tenant_slug=visit.tenant.slug, pk=made.pk)
    return _form_page(request, form)


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_ENVIRONMENTS, methods=("GET", "HEAD", "POST"))
def environment_edit(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Change an environment. The stored key never leaves the server."""
    found = selectors.environment_or_404(pk)
    schedule = Schedule.objects.filter(name=services.capture_schedule_name(found), is_enabled=True).first()
    initial = {
        "name": found.name,
        "kind": found.kind,
        "position": found.position,
        "base_url": found.base_url,
        "capture_every": schedule.every_seconds if schedule else 0,
    }
    has_key = bool(found.api_key_encrypted)
    form = EnvironmentForm(request.POST or None, initial=initial, editing=True, has_key=has_key)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            saved = guard_changes.change_environment(
                tenant_id=visit.tenant.pk,
                environment_id=pk,
                by=visit.user,
                name=data["name"],
                kind=data["kind"],
                base_url=data["base_url"],
                api_key=data["api_key"],
                position=data["position"] if data["position"] is not None else found.position,
            )
        except (Invalid, Conflict) as error:
            form.take_in(error.details, error.message)
        else:
            _after_saving(request, visit, saved, data["capture_every"], f"{saved.name} was saved.")
            return redirect("environment", tenant_slug=visit.tenant.slug, pk=pk)
    return _form_page(request, form, found)


def _after_saving(
    request: HttpRequest, visit: Visit, saved: Environment, every_seconds: int, message: str, *, is_new: bool = False
) -> None:
    services.set_capture_schedule(tenant_id=visit.tenant.pk, environment_id=saved.pk, every_seconds=every_seconds)
    if saved.api_key_encrypted and saved.connection_status == "unknown":
        services.start_test_connection(
            tenant_id=visit.tenant.pk, environment_id=saved.pk, requested_by=visit.user, is_new=is_new
        )
        message = f"{message} Its connection is being tested{', then its workflows are captured' if is_new else ''}."
    messages.success(request, message)
    if waits := waiting(environment_id=saved.pk):
        messages.warning(request, f"{waits[0].sentence}: that lowers a guard, so another owner has to agree.")


def _form_page(request: HttpRequest, form: EnvironmentForm, found: Environment | None = None) -> HttpResponse:
    context = {
        "form": form,
        "environment": found,
        "production": EnvironmentKind.PRODUCTION,
        "nav_section": "environments",
    }
    return render(request, "workflows/environment_form.html", context, status=422 if form.errors else 200)


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_ENVIRONMENTS, methods=("POST",))
def environment_archive(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Archive an environment (its name must be typed), or unarchive it."""
    found = selectors.environment_or_404(pk)
    if found.is_archived:
        services.unarchive_environment(tenant_id=visit.tenant.pk, environment_id=pk)
        messages.success(request, f"{found.name} is back. It needs its API key again.")
        return redirect("environment-edit", tenant_slug=visit.tenant.slug, pk=pk)
    if request.POST.get("typed", "").strip() != found.name:
        raise Invalid("The name that was typed is not the environment's.", recovery="Type the name as it is shown.")
    saved = guard_changes.archive_environment(tenant_id=visit.tenant.pk, environment_id=pk, by=visit.user)
    if not saved.is_archived:
        messages.warning(request, f"Without {found.name}, a way into production opens: another owner has to agree.")
        return redirect("approval-rules", tenant_slug=visit.tenant.slug)
    messages.success(request, f"{found.name} was archived; its history stays.")
    return redirect("environments", tenant_slug=visit.tenant.slug)
