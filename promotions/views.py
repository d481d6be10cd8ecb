"""Pages of promotions: the list, a new one, one with its plan, gates, progress and proof."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django_htmx.http import trigger_client_event

from core.errors import Invalid, OpsError
from core.htmx import is_partial
from core.support_rules import READS, READS_AND_WRITES, WRITES, Rule, Sent, SupportRules, in_support_session
from core.swaps import in_place_of_the_page
from operations import events
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.credentials import CredentialPair, save_mapping
from workflows.models import Environment
from workflows.permissions import require_operate

from . import selectors, services
from .actions import ACTIONS
from .models import Promotion
from .planning.options import ActivePolicy, SourceVersion
from .reading import comparison_page, page_version, promotion_page


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def promotion_list(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The tenant's promotions, newest first."""
    state, query = request.GET.get("state", ""), request.GET.get("q", "")
    target = request.GET.get("target", "")
    environments = list(Environment.objects.filter(is_archived=False))
    chosen = next((e for e in environments if e.slug == target), None)
    page = selectors.list_promotions(
        state=state, search=query, target_id=chosen.pk if chosen else None, cursor=request.GET.get("cursor", "")
    )
    context = {
        "page": page,
        "state": state,
        "query": query,
        "target": target,
        "environments": environments,
        "tabs": [("", "All"), *((name, label) for name, (label, _q) in selectors.FILTERS.items())],
        "may_operate": visit.may(Grants.OPERATE),
        "nav_section": "promotions",
    }
    if is_partial(request):
        return render(request, "promotions/list.html#rows", context)
    return render(request, "promotions/list.html", context | selectors.outcomes_by_day(chosen.pk if chosen else None))


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def promotion_new(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Choose source and target, look at what differs, choose workflows, see what is missing; then plan."""
    with tenant_scope(visit.tenant.pk):
        environments = list(Environment.objects.filter(is_archived=False))
    asked = comparison_page.Question.of(request, environments)
    context = {**_form(request), **asked.context(), "environments": environments}
    if asked.source is None or asked.target is None:
        return render(request, "promotions/new.html", context)
    status = 200
    if request.method == "POST":
        require_operate(visit, asked.target)
        try:
            promotion = _create(request, visit, asked.source, asked.target)
        except OpsError as error:
            context["error"], status = error, 422
        else:
            messages.success(request, "Planned. Look at what will happen, then go on.")
            return redirect("promotion", tenant_slug=visit.tenant.slug, pk=promotion.pk)
    context |= comparison_page.comparison(visit, asked)
    part = is_partial(request, target="choose")
    return render(request, "promotions/new.html#choose" if part else "promotions/new.html", context, status=status)


def _form(request: HttpRequest) -> dict[str, Any]:
    """What was entered so far, and the choices."""
    return {
        "policies": ActivePolicy.choices,
        "active": request.POST.get("active") or ActivePolicy.KEEP.value,
        "versions": SourceVersion.choices,
        "require_approval": request.POST.get("require_approval") == "1",
        "name": request.POST.get("name", ""),
        "description": request.POST.get("description", ""),
        "nav_section": "promotions",
    }


def _create(request: HttpRequest, visit: Visit, source: Environment, target: Environment) -> Promotion:
    wanted = services.PromotionRequest(
        source_id=source.pk,
        target_id=target.pk,
        keys=request.POST.getlist("selected"),
        name=request.POST.get("name", ""),
        description=request.POST.get("description", ""),
        options={
            "active": request.POST.get("active") or ActivePolicy.KEEP.value,
            "version": request.POST.get("version") or SourceVersion.PUBLISHED.value,
            "require_approval": request.POST.get("require_approval") == "1",
        },
    )
    return services.create(tenant_id=visit.tenant.pk, request=wanted, by=visit.user)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, scope=False, methods=("POST",))
def credential_map(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Map a credential of the source to one of the target; then plan the promotion again."""
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=request.POST.get("promotion", ""))
    target = promotion.target_environment
    require_operate(visit, target)
    kind = request.POST.get("credential_type", "")
    chosen = request.POST.get("target_credential", "")
    entered = request.POST.get("target_credential_id", "").strip()
    with tenant_scope(visit.tenant.pk):
        offered = promotion_page.choices(promotion, {kind}).get(kind, [])
    known = next((choice for choice in offered if choice.credential_id == (entered or chosen)), None)
    if known is None and not entered:
        messages.error(request, "Nothing was mapped: choose a credential of the target, or enter its id.")
        return redirect("promotion", tenant_slug=visit.tenant.slug, pk=promotion.pk)
    save_mapping(
        tenant_id=visit.tenant.pk,
        source_environment_id=promotion.source_environment_id,
        target_environment_id=target.pk,
        pair=CredentialPair(
            credential_type=kind,
            source_name=request.POST.get("source_name", ""),
            source_credential_id=request.POST.get("source_credential_id", ""),
            target_name=known.name if known else request.POST.get("target_name", "").strip(),
            target_credential_id=known.credential_id if known else entered,
        ),
        by=visit.user,
    )
    services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    messages.success(request, "Mapped, and planned again.")
    return redirect("promotion", tenant_slug=visit.tenant.slug, pk=promotion.pk)


def _while_supporting(sent: Sent) -> Rule:
    """Only the customer's own people approve, or say that a target left half-way is good."""
    return Rule.DENIED if sent.get("action") in ("approve", "reject", "release") else Rule.WRITE


@in_support_session(SupportRules(get=Rule.READ, post=_while_supporting))
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def promotion_detail(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """One promotion: what will happen, what happens, what happened and the way back."""
    if request.method == "POST":
        return _act(request, visit, pk)
    part = request.GET.get("part", "")
    if part == "news" and request.GET.get("seen") == page_version.version_now(
        tenant_id=visit.tenant.pk, promotion_id=pk
    ):
        return HttpResponse(status=204)
    context = promotion_page.context(visit, pk, whole=request.GET.get("workflows") == "all")
    if part == "watched":
        return render(request, "promotions/promotion.html#watched", context)
    if part == "live" and context["watching"]:
        return _live(request, context)
    if part not in ("live", "news"):
        return render(request, "promotions/promotion.html", context)
    # Where work has ended or somebody has decided, the whole page is another one now; diffs that are open stay.
    answer = render(request, "promotions/promotion.html", {**context, "news": True})
    return trigger_client_event(in_place_of_the_page(answer), "discussed", after="settle")


def _live(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """What changes while work goes on: the live part, and the state in the head."""
    answer = render(request, "promotions/promotion.html#live", context)
    answer.write(render_to_string("promotions/promotion.html#state", {**context, "oob": True}, request))
    return answer


@in_support_session(READS)
async def promotion_events(request: HttpRequest, tenant_slug: str, pk: uuid.UUID) -> HttpResponseBase:
    """News of one promotion as server-sent events, from the version that the page shows (``seen``) on."""
    seen = request.headers.get("Last-Event-ID") or request.GET.get("seen", "")

    def begin(visit: Visit) -> Callable[[], list[events.Event]]:
        return page_version.promotion_poll(tenant_id=visit.tenant.pk, promotion_id=pk, seen=seen)

    return await events.tenant_stream(request, tenant_slug, begin)


def _act(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    action = ACTIONS.get(request.POST.get("action", ""))
    if action is None:
        raise Invalid("That action is not known.")
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=pk)
    messages.success(request, action(request, visit, promotion))
    return redirect("promotion", tenant_slug=visit.tenant.slug, pk=pk)
