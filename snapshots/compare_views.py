"""The page that compares any two of what is now, live, draft, approved or captured; *now* is asked of n8n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.support_rules import READS_AND_WRITES, in_support_session
from core.swaps import live_page
from operations.models import Operation
from operations.presenters import pace
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import may_operate, require_operate

from . import comparing, selectors, services
from .comparing import APPROVED, NOW, SNAPSHOT, WholeSide, parse
from .selectors import STATES

SHOWN = 200
SIDES = ("left", "right")


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"), scope=False)
def compare(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Two sides, ``?left=…&right=…``; with ``key`` on to that workflow. A POST asks n8n what is there now."""
    with tenant_scope(visit.tenant.pk):
        environments = list(Environment.objects.filter(is_archived=False).order_by("position", "name"))
        groups = comparing.choices(environments)
    specs = _specs(request, environments)
    key = (request.POST if request.method == "POST" else request.GET).get("key", "")[:200]
    if request.method == "POST":
        return _ask(visit, specs, environments, key)
    context: dict[str, Any] = {"groups": groups, "key": key, "nav_section": "compare", "specs": specs}
    if not all(specs):
        return render(request, "snapshots/compare_any.html", context)
    left, right = (comparing.load(visit, spec, environments) for spec in specs)
    if key and not _unasked(left, right):
        query = urlencode({"left": left.spec, "right": right.spec})
        return redirect(f"{reverse('workflow-diff', kwargs={'tenant_slug': visit.tenant.slug, 'key': key})}?{query}")
    context |= _compared(request, visit.tenant.slug, left, right)
    context |= {"asks": _asks(visit, specs, left, right), "asking": _asking(left, right)}
    return live_page(request, "snapshots/compare_any.html", context, goes_on=bool(context["asking"]))


def _specs(request: HttpRequest, environments: Sequence[Environment]) -> tuple[str, str]:
    """The two sides of the address; without any, what production holds beside what is approved there."""
    sent = request.POST if request.method == "POST" else request.GET
    left, right = (sent.get(side, "")[:80] for side in SIDES)
    last = next((e for e in reversed(environments) if e.last_snapshot_id), None)
    if last is not None and not left and not right:
        return f"git:{last.slug}", last.slug
    return left, right


def _unasked(*sides: WholeSide) -> list[WholeSide]:
    """Sides of which *now* is wanted and n8n has not told yet."""
    return [side for side in sides if side.is_now]


def _asking(*sides: WholeSide) -> list[dict[str, Any]]:
    """The captures under way, as the page shows how far they are."""
    jobs: list[Operation] = [side.asking for side in sides if side.asking is not None and side.asking.is_open]
    return [{"operation": job, "pace": pace(job)} for job in jobs]


@dataclass(frozen=True, slots=True)
class Ask:
    """A button that asks an environment what is there now: it takes the place of what is shown of it."""

    environment: Environment
    left: str
    right: str
    may: bool


def _asks(visit: Visit, specs: tuple[str, str], left: WholeSide, right: WholeSide) -> list[Ask]:
    """For each side that n8n itself can tell; what is approved it does not know."""
    found = []
    with tenant_scope(visit.tenant.pk):
        for place, side in enumerate((left, right)):
            if parse(specs[place])[0] == APPROVED:
                continue
            wanted = list(specs)
            wanted[place] = f"{NOW}:{side.environment.slug}"
            found.append(Ask(side.environment, wanted[0], wanted[1], may_operate(visit, side.environment)))
    return found


def _compared(request: HttpRequest, slug: str, left: WholeSide, right: WholeSide) -> dict[str, Any]:
    found: dict[str, Any] = {"left": left, "right": right, "sides": (left, right), "unasked": _unasked(left, right)}
    if left.asking or right.asking:
        return found
    across = left.environment.pk != right.environment.pk
    rows, counts = selectors.compare(comparing.rows_of(left, across=across), comparing.rows_of(right, across=across))
    show = request.GET.get("show", "")
    shown = [row for row in rows if row.state == show or (not show and row.state != "unchanged")]
    base = {"left": request.GET.get("left") or left.spec, "right": request.GET.get("right") or right.spec}
    return found | {
        "rows": shown[:SHOWN],
        "more": max(0, len(shown) - SHOWN),
        "show": show,
        "tabs": [("Differences", f"?{urlencode(base)}", None, not show)]
        + [
            (state.capitalize(), f"?{urlencode({**base, 'show': state})}", counts[state], show == state)
            for state in STATES
        ],
        "diff_base": reverse("workflow", kwargs={"tenant_slug": slug, "key": "k"}).removesuffix("k/"),
        "diff_query": urlencode({"left": left.spec, "right": right.spec}),
    }


def _ask(visit: Visit, specs: tuple[str, str], environments: Sequence[Environment], key: str) -> HttpResponse:
    """Start a capture for each side that is to be now, and go where its answer will be."""
    told = [_asked(visit, spec, environments) for spec in specs]
    query = {"left": told[0], "right": told[1], **({"key": key} if key else {})}
    return redirect(f"{reverse('compare', kwargs={'tenant_slug': visit.tenant.slug})}?{urlencode(query)}")


def _asked(visit: Visit, spec: str, environments: Sequence[Environment]) -> str:
    """The side that the answer will be; a side that is not asked stays what it is."""
    kind, name = parse(spec)
    place = next((e for e in environments if e.slug == name), None)
    if kind != NOW or place is None:
        return spec
    with tenant_scope(visit.tenant.pk):
        require_operate(visit, place)
    job = services.start_capture(
        tenant_id=visit.tenant.pk,
        environment_id=place.pk,
        description="Asked what is there now, to compare",
        requested_by=visit.user,
    )
    return f"{SNAPSHOT}:{job.subject_id}"
