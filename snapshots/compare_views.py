"""The page that compares any two of what is now, live, draft, approved or captured; *now* is asked of n8n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.validators import slug_re
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import NotFound
from core.support_rules import READS_AND_WRITES, in_support_session
from core.swaps import live_page
from operations.models import Operation
from operations.pace import pace
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import may_operate, require_operate

from . import comparing, selectors, services
from .comparing import NOW, WholeSide, parse
from .selectors import STATES
from .sides import APPROVED, DRAFT, LONGEST_SPEC, SNAPSHOT, SNAPSHOT_DRAFT, for_good

SHOWN = 200
SIDES = ("left", "right")
#: What asking n8n cannot tell: an answer is what runs there.
NOT_ASKED = (APPROVED, DRAFT, SNAPSHOT_DRAFT)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"), scope=False)
def compare(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Two sides, ``?left=…&right=…``; with ``key`` on to that workflow. A POST asks n8n what is there now."""
    with tenant_scope(visit.tenant.pk):
        environments = list(Environment.objects.filter(is_archived=False).order_by("position", "name"))
        groups = comparing.choices(environments)
    specs = _specs(request, environments)
    key = _key(request)
    if request.method == "POST":
        return _ask(visit, specs, environments, key)
    lasting = _lasting(visit, specs)
    if lasting != specs:
        return redirect(f"{request.path}?{urlencode({**request.GET.dict(), **_query(lasting, key)})}")
    chosen = comparing.load_both(visit, specs, environments)
    context: dict[str, Any] = {"groups": comparing.with_chosen(groups, chosen), "specs": specs}
    context |= {"key": key, "nav_section": "compare"}
    if not all(specs):
        return render(request, "snapshots/compare_any.html", context)
    left, right = (chosen[spec] for spec in specs)
    if key and not _unasked(left, right):
        return _one_workflow(request, visit, key, left, right)
    context |= _compared(request, visit.tenant.slug, left, right)
    context |= _ways_on(visit, specs, left, right)
    context |= {"asking": _asking(left, right), "live_url": f"?{urlencode(_query(specs, key) | {'part': 'live'})}"}
    return live_page(request, "snapshots/compare_any.html", context, goes_on=bool(context["asking"]))


def _lasting(visit: Visit, specs: tuple[str, str]) -> tuple[str, str]:
    """Two sides that go on meaning what they mean today; as they are while one is still to be chosen."""
    return (_for_good(visit, specs[0]), _for_good(visit, specs[1])) if all(specs) else specs


def _for_good(visit: Visit, spec: str) -> str:
    """What is wanted as it is now has no name before it was asked for."""
    return spec if not spec or parse(spec)[0] == NOW else for_good(visit, spec)


def _key(request: HttpRequest) -> str:
    key = (request.POST if request.method == "POST" else request.GET).get("key", "")[:200]
    if key and not slug_re.fullmatch(key):
        raise NotFound
    return key


def _query(specs: Sequence[str], key: str) -> dict[str, str]:
    return dict(zip(SIDES, specs, strict=True)) | ({"key": key} if key else {})


def _one_workflow(request: HttpRequest, visit: Visit, key: str, left: WholeSide, right: WholeSide) -> HttpResponse:
    """On to the workflow's diff; a page that waited for it goes there as a whole."""
    there = reverse("workflow-diff", kwargs={"tenant_slug": visit.tenant.slug, "key": key})
    there = f"{there}?{urlencode({'left': left.spec, 'right': right.spec})}"
    if request.GET.get("part") == "live":
        return HttpResponse(headers={"HX-Redirect": there})
    return redirect(there)


def _specs(request: HttpRequest, environments: Sequence[Environment]) -> tuple[str, str]:
    """The two sides of the address; without any, what production holds beside what is approved there."""
    sent = request.POST if request.method == "POST" else request.GET
    left, right = (sent.get(side, "")[:LONGEST_SPEC] for side in SIDES)
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
    """A button that asks what is there now: the answers take the place of what is shown of those sides."""

    names: str
    left: str
    right: str
    may: bool
    #: Which side it is about, where that is not plain.
    place: str = ""

    @property
    def label(self) -> str:
        return f"{self.place}: ask {self.names} now" if self.place else f"Ask {self.names} now"


def _ways_on(visit: Visit, specs: tuple[str, str], left: WholeSide, right: WholeSide) -> dict[str, Any]:
    """What can be asked of n8n and by whom, and which environments were never captured."""
    with tenant_scope(visit.tenant.pk):
        asks = _asks(visit, specs, (left, right))
        never = {side.environment.slug: side.environment for side in (left, right) if side.never_captured}
        capture = {slug: may_operate(visit, environment) for slug, environment in never.items()}
    return {
        "asks": [ask for ask in asks if ask.may],
        "may_not": " and ".join(dict.fromkeys(ask.names for ask in asks if not ask.may)),
        "never": [(environment, capture[slug]) for slug, environment in never.items()],
    }


def _asks(visit: Visit, specs: tuple[str, str], sides: tuple[WholeSide, WholeSide]) -> list[Ask]:
    """One button for all sides of which *now* is wanted; without such, one for each that n8n can tell."""
    able = [place for place in range(len(sides)) if parse(specs[place])[0] not in NOT_ASKED]
    now = [place for place in able if sides[place].is_now]
    wanted = [now] if now else [[place] for place in able]
    return [_ask_for(visit, specs, sides, places, is_one_of_two=len(wanted) > 1) for places in wanted]


def _ask_for(
    visit: Visit, specs: tuple[str, str], sides: tuple[WholeSide, WholeSide], places: list[int], *, is_one_of_two: bool
) -> Ask:
    asked = [sides[place].environment for place in places]
    left, right = (
        f"{NOW}:{side.environment.slug}" if place in places else specs[place] for place, side in enumerate(sides)
    )
    names = " and ".join(dict.fromkeys(environment.name for environment in asked))
    may = all(may_operate(visit, environment) for environment in asked)
    return Ask(names, left, right, may, ("Before", "After")[places[0]] if is_one_of_two else "")


def _compared(request: HttpRequest, slug: str, left: WholeSide, right: WholeSide) -> dict[str, Any]:
    found: dict[str, Any] = {"left": left, "right": right, "sides": (left, right), "unasked": _unasked(left, right)}
    if any(side.asking or side.never_captured for side in (left, right)):
        return found
    across = left.environment.pk != right.environment.pk
    rows, counts = selectors.compare(comparing.rows_of(left, across=across), comparing.rows_of(right, across=across))
    show = selectors.chosen_state(request.GET.get("show", ""))
    shown = [row for row in rows if row.state == show or (not show and row.state != "unchanged")]
    base = {"left": request.GET.get("left") or left.spec, "right": request.GET.get("right") or right.spec}
    return found | {
        "rows": shown[:SHOWN],
        "more": max(0, len(shown) - SHOWN),
        "show": show,
        "drafts_across": across and (left.drafts or right.drafts),
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
    return redirect(f"{reverse('compare', kwargs={'tenant_slug': visit.tenant.slug})}?{urlencode(_query(told, key))}")


def _asked(visit: Visit, spec: str, environments: Sequence[Environment]) -> str:
    """The side that the answer will be; a side that is not asked is what it is today."""
    kind, name = parse(spec)
    if kind != NOW:
        return _for_good(visit, spec)
    place = next((e for e in environments if e.slug == name), None)
    if place is None:
        raise NotFound
    with tenant_scope(visit.tenant.pk):
        require_operate(visit, place)
    job = services.start_capture(
        tenant_id=visit.tenant.pk,
        environment_id=place.pk,
        description="Asked what is there now, to compare",
        requested_by=visit.user,
    )
    return f"{SNAPSHOT}:{job.subject_id}"
