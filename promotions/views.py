"""Pages of promotions: the list, a new one, one with its plan, gates, progress and proof."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from core.errors import Invalid, OpsError
from core.paging import decode, encode
from core.support_rules import READS, READS_AND_WRITES, WRITES, Rule, Sent, SupportRules, in_support_session
from core.swaps import in_place_of_the_page
from operations import events
from operations.presenters import pace
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows import surroundings
from workflows.credentials import save_mapping
from workflows.models import Environment, KnownCredential
from workflows.normalization import DATA_TABLE
from workflows.permissions import may_operate, require_approve, require_operate
from workflows.stubs import secret_entered
from workflows.watching.selectors import of_operations

from . import selectors, services
from .models import Promotion, PromotionStatus
from .permissions import require_prepare
from .planning import gates
from .planning.options import ActivePolicy, SourceVersion
from .reading import page_version, presenters
from .reading.executions import runs_since

ROWS_ON_A_PAGE = 100


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
    name = "promotions/list.html#rows" if getattr(request, "htmx", False) else "promotions/list.html"
    return render(request, name, context)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def promotion_new(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Choose source and target, look at what differs, choose workflows, see what would dangle; then plan."""
    with tenant_scope(visit.tenant.pk):
        environments = list(Environment.objects.filter(is_archived=False))
    source, target = _pair(request, environments)
    given = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {
        "environments": environments,
        "source": source,
        "target": target,
        "policies": ActivePolicy.choices,
        "active": request.POST.get("active") or ActivePolicy.KEEP.value,
        "versions": SourceVersion.choices,
        "version": _version(given.get("version", "")),
        "require_approval": request.POST.get("require_approval") == "1",
        "chosen": _chosen(request),
        "name": request.POST.get("name", ""),
        "description": request.POST.get("description", ""),
        "nav_section": "promotions",
    }
    if source is None or target is None:
        return render(request, "promotions/new.html", context)
    if request.method == "POST":
        require_operate(visit, target)
        try:
            promotion = _create(request, visit, source, target)
        except OpsError as error:
            context["error"] = error
        else:
            messages.success(request, "Planned. Look at what will happen, then go on.")
            return redirect("promotion", tenant_slug=visit.tenant.slug, pk=promotion.pk)
    context |= _comparison(request, visit, source, target, context["version"])
    status = 422 if "error" in context and request.method == "POST" else 200
    part = getattr(request, "htmx", False) and request.htmx.target == "choose"  # type: ignore[attr-defined]
    return render(request, "promotions/new.html#choose" if part else "promotions/new.html", context, status=status)


def _version(given: str) -> SourceVersion:
    return SourceVersion.DRAFT if given == SourceVersion.DRAFT else SourceVersion.PUBLISHED


def _pair(request: HttpRequest, environments: list[Environment]) -> tuple[Environment | None, Environment | None]:
    by_slug = {e.slug: e for e in environments} | {str(e.pk): e for e in environments}
    given = request.POST if request.method == "POST" else request.GET
    source, target = by_slug.get(given.get("source", "")), by_slug.get(given.get("target", ""))
    if source is None and target is None and len(environments) >= 2 and "source" not in given:
        # The usual way: from the last but one in the pipeline into the last.
        return environments[-2], environments[-1]
    if source is not None and source == target:
        return source, None
    return source, target


def _chosen(request: HttpRequest) -> set[str]:
    """Keys picked so far: by the form, or handed over from the matrix as ``keys=a,b``."""
    if request.method == "POST":
        return set(request.POST.getlist("selected"))
    handed = [key for key in request.GET.get("keys", "").split(",") if key]
    return {*request.GET.getlist("selected"), *handed}


def _create(request: HttpRequest, visit: Visit, source: Environment, target: Environment) -> Promotion:
    return services.create(
        tenant_id=visit.tenant.pk,
        source_id=source.pk,
        target_id=target.pk,
        keys=request.POST.getlist("selected"),
        by=visit.user,
        name=request.POST.get("name", ""),
        description=request.POST.get("description", ""),
        options={
            "active": request.POST.get("active") or ActivePolicy.KEEP.value,
            "version": request.POST.get("version") or SourceVersion.PUBLISHED.value,
            "require_approval": request.POST.get("require_approval") == "1",
        },
    )


def _comparison(
    request: HttpRequest, visit: Visit, source: Environment, target: Environment, version: SourceVersion
) -> dict[str, Any]:
    """One page of the comparison; choices made on other pages of it are kept as hidden fields."""
    try:
        compared = services.compare(
            tenant_id=visit.tenant.pk, source_id=source.pk, target_id=target.pk, version=version
        )
    except OpsError as error:
        return {"error": error}
    query = request.GET.get("q", "").strip().casefold()
    state = request.GET.get("state", "")
    rows = [
        row
        for row in compared.rows
        if (not query or query in row.name.casefold() or query in row.key)
        and (
            row.state == state
            or (state == "drifted" and row.target_drifted)
            or (not state and row.state in presenters.DIFFERENT)
            or state == "all"
        )
    ]
    start = _offset(rows, request.GET.get("cursor", ""))
    shown = rows[start : start + ROWS_ON_A_PAGE]
    more = start + ROWS_ON_A_PAGE < len(rows)
    blocking = presenters.blocked_by_drift(compared)
    facts = presenters.compare_rows(visit, shown, source, target, blocked=blocking["keys"])
    chosen = _chosen(request)
    return {
        "comparison": compared,
        "counts": compared.counts,
        "rows": facts,
        "total": len(rows),
        "state": state,
        "query": request.GET.get("q", ""),
        "kept": sorted(chosen - {row.key for row in shown}),
        "next_cursor": encode([shown[-1].name, shown[-1].key]) if more else "",
        "blocking": blocking,
        "may_operate": may_operate(visit, target),
    }


def _offset(rows: list[Any], cursor: str) -> int:
    if not cursor:
        return 0
    name, key = decode(cursor, 2)
    mark = (str(name).casefold(), str(key))
    return next((i for i, row in enumerate(rows) if (row.name.casefold(), row.key) > mark), len(rows))


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, scope=False, methods=("POST",))
def credential_map(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Say which credential of the target stands in for one of the source; then plan the promotion again."""
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=request.POST.get("promotion", ""))
    target = promotion.target_environment
    require_operate(visit, target)
    kind = request.POST.get("credential_type", "")
    chosen = request.POST.get("target_credential", "")
    entered = request.POST.get("target_credential_id", "").strip()
    with tenant_scope(visit.tenant.pk):
        offered = _known_credentials(promotion, {kind}).get(kind, [])
    known = next((choice for choice in offered if choice.credential_id == (entered or chosen)), None)
    if known is None and not entered:
        raise Invalid("Choose a credential of the target, or enter its id.")
    save_mapping(
        tenant_id=visit.tenant.pk,
        source_environment_id=promotion.source_environment_id,
        target_environment_id=target.pk,
        credential_type=kind,
        source_name=request.POST.get("source_name", ""),
        source_credential_id=request.POST.get("source_credential_id", ""),
        target_name=known.name if known else request.POST.get("target_name", "").strip(),
        target_credential_id=known.credential_id if known else entered,
        by=visit.user,
    )
    services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    messages.success(request, "Mapped, and planned again.")
    return redirect("promotion", tenant_slug=visit.tenant.slug, pk=promotion.pk)


def _while_supporting(sent: Sent) -> Rule:
    """An approval is the customer's own word, and so is that a target left half-way is good; support gives neither."""
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
    context = _detail(visit, pk)
    if part == "watched":
        return render(request, "promotions/promotion.html#watched", context)
    if part == "live" and context["watching"]:
        return render(request, "promotions/promotion.html#live", context)
    answer = render(request, "promotions/promotion.html", context)
    # Where work has ended or somebody has decided, the whole page is another one now.
    return in_place_of_the_page(answer) if part in ("live", "news") else answer


@in_support_session(READS)
async def promotion_events(request: HttpRequest, tenant_slug: str, pk: uuid.UUID) -> HttpResponseBase:
    """News of one promotion as server-sent events, from the version that the page shows (``seen``) on."""
    seen = request.headers.get("Last-Event-ID") or request.GET.get("seen", "")

    def begin(visit: Visit) -> Callable[[], list[events.Event]]:
        return page_version.promotion_poll(tenant_id=visit.tenant.pk, promotion_id=pk, seen=seen)

    return await events.tenant_stream(request, tenant_slug, begin)


def _detail(visit: Visit, pk: uuid.UUID) -> dict[str, Any]:
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=pk)
    with tenant_scope(visit.tenant.pk):
        jobs = selectors.jobs_on(promotion)
        version = page_version.version_of(promotion, jobs)
        operation = selectors.operation_of(promotion)
        selectors.settled_view(promotion, operation)
        rollback = selectors.open_rollback(promotion)
        found = (
            gates.all_gates(promotion, promotion.source_environment, promotion.target_environment)
            if services.is_plannable(promotion)
            else []
        )
        plan = promotion.plan or gates.EMPTY_PLAN
        dangling = presenters.dangling_groups(plan) if services.is_plannable(promotion) else []
        known = _known_credentials(promotion, {d["credential_type"] for d in dangling if d["credential_type"]})
        powers = presenters.powers(visit, promotion, found, rollback)
        returned = presenters.returned(promotion)
        manual = (promotion.execution_result or {}).get("manual_rollback") or {}
        # What ran until the rollback is nobody's to watch: only what runs again is.
        published = [one.pk for one in (rollback, None if returned else operation) if one is not None]
        watched = jobs[0] if jobs else operation
        preparing = any(job.kind == services.PREPARE for job in jobs)
        steps = list(watched.steps.order_by("-position")[:12]) if watched is not None else []
        return {
            "promotion": promotion,
            "version": version,
            "can_change": services.is_plannable(promotion) or promotion.status == PromotionStatus.RUNNING,
            "plan": plan,
            "items": presenters.item_rows(visit, promotion),
            "items_total": len(plan["items"]),
            "gates": presenters.gate_rows(found),
            "powers": powers,
            "kept_published": selectors.kept_published(promotion) if powers["rollback"] else [],
            "runs": runs_since(promotion),
            "watched": of_operations(published),
            "watched_url": "?part=watched",
            "watched_title": "Runs again since the rollback" if returned else "",
            "operation": watched,
            "watching": bool(watched and watched.is_open),
            "puts_back": watched is not None and watched.kind == services.EXECUTE,
            "stopping": bool(watched and watched.is_open and watched.cancel_requested_at),
            "steps": steps,
            "pace": pace(watched) if watched is not None else {},
            "rollback": rollback,
            "returned": returned,
            "rolled": bool(manual.get("status")),
            "automatic": presenters.automatic_rollback(promotion),
            "attempts": selectors.attempts_of(promotion),
            "result": promotion.execution_result or {},
            "dangling": [{**d, "choices": known.get(d["credential_type"], [])} for d in dangling],
            "offered": presenters.offered(plan) if services.is_plannable(promotion) and not preparing else {},
            "preparing": preparing,
            "warnings": sum(len(item["warnings"]) for item in plan["items"]),
            "active_word": dict(ActivePolicy.choices).get(promotion.options.get("active", ""), ""),
            "is_over": promotion.status not in services.PLANNABLE and promotion.status != PromotionStatus.RUNNING,
            "nav_section": "promotions",
        }


class Choice(NamedTuple):
    """A credential or data table of the target that may be chosen."""

    credential_id: str
    name: str


def _known_credentials(promotion: Promotion, types: set[str]) -> dict[str, list[Choice]]:
    if not types:
        return {}
    rows = KnownCredential.objects.filter(
        environment_id=promotion.target_environment_id, credential_type__in=types, is_gone=False
    ).order_by("name")[:500]
    found: dict[str, list[Choice]] = {}
    for row in rows:
        found.setdefault(row.credential_type, []).append(Choice(row.credential_id, row.name))
    if DATA_TABLE in types:
        around = surroundings.stored(promotion.tenant_id, promotion.target_environment_id)
        found[DATA_TABLE] = [Choice(table.id, table.name) for table in around.data_tables or ()]
    return found


def _act(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    action = ACTIONS.get(request.POST.get("action", ""))
    if action is None:
        raise Invalid("That action is not known.")
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=pk)
    messages.success(request, action(request, visit, promotion))
    return redirect("promotion", tenant_slug=visit.tenant.slug, pk=pk)


def _submit(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    done = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Waits for approval." if done.status == PromotionStatus.PENDING_APPROVAL else "Ready to run."


def _replan(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Planned again from the latest captures."


def _repair(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.repair(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Planned again without what leads nowhere."


def _prepare(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    rows = request.POST.get("rows") == "1"
    require_prepare(visit, promotion, rows=rows)
    services.prepare(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        chosen=request.POST.getlist("offer") or None,
        rows=rows,
    )
    name = promotion.target_environment.name
    if promotion.status == PromotionStatus.DRAFT:
        return f"Preparing {name}: watch the job below. Once it has ended, the plan is made again by itself."
    return (
        f"Preparing {name}: watch the job below. Once it has ended, press “Plan again”, which takes another approval."
    )


def _test_credentials(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.start_credential_tests(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "n8n tests the credentials; the gate shows the results."


def _secret_entered(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    with tenant_scope(visit.tenant.pk):
        secret_entered(environment=promotion.target_environment, credential_id=request.POST.get("credential", ""))
    return "Noted: its secret is entered."


def _approve(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_approve(visit, promotion.target_environment)
    services.approve(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        comment=request.POST.get("comment", ""),
        seen_plan_hash=request.POST.get("plan_hash", ""),
    )
    return "Approved."


def _reject(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_approve(visit, promotion.target_environment)
    comment = request.POST.get("reason") or request.POST.get("comment", "")
    services.reject(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user, comment=comment)
    return "Rejected."


def _execute(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.execute(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        typed=request.POST.get("typed", ""),
    )
    return "Running: watch each step below."


def _cancel(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    done = services.cancel(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    if done.status == PromotionStatus.RUNNING:
        return "Asked to stop: the target is being put back."
    return "Cancelled; nothing was written."


def _rollback(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.rollback(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        force=request.POST.get("force") == "1",
        reason=request.POST.get("reason", ""),
        typed=request.POST.get("typed", ""),
    )
    return "Rolling back."


def _release(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.release(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        reason=request.POST.get("reason", ""),
        typed=request.POST.get("typed", ""),
    )
    return f"{promotion.target_environment.name} is free for promotions again."


ACTIONS: dict[str, Callable[[HttpRequest, Visit, Promotion], str]] = {
    "submit": _submit,
    "replan": _replan,
    "repair": _repair,
    "prepare": _prepare,
    "test_credentials": _test_credentials,
    "secret_entered": _secret_entered,
    "approve": _approve,
    "reject": _reject,
    "execute": _execute,
    "cancel": _cancel,
    "rollback": _rollback,
    "release": _release,
}
