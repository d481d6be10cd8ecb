"""Pages of a review: one workflow of a promotion with its diff, and what is said of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import Invalid, OpsError
from core.htmx import is_partial
from core.support_rules import READS_AND_WRITES, in_support_session
from core.swaps import in_place_of_the_page
from promotions.models import Promotion
from promotions.planning.documents import read_plan
from promotions.reading import diffs
from promotions.rows import get_promotion
from tenants.models import Grants
from tenants.pages import Visit, tenant_page

from . import comments, page, viewed

Act = Callable[[HttpRequest, Visit, Promotion, str], None]


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def review(request: HttpRequest, visit: Visit, pk: uuid.UUID, key: str) -> HttpResponse:
    """One workflow of a promotion: its diff in every view, comments on it, and the mark that it was viewed.

    With ``part=text`` the text alone, to stand in the promotion's page; with ``part=said`` what was said, to take the
    place of what the page shows of it.
    """
    promotion = get_promotion(tenant_id=visit.tenant.pk, promotion_id=pk)
    if request.method == "POST":
        return _act(request, visit, promotion, key)
    if request.GET.get("part") == "said":
        return _said(request, visit, promotion, key)
    only_text = request.GET.get("part") == "text"
    query = {**request.GET.dict(), **({"view": "text"} if only_text else {})}
    shown = page.context(visit, promotion, key, query)
    if only_text:
        return render(request, "workflows/_text_diff.html", {**shown, "inline": True})
    return render(request, "promotions/review.html", shown)


def _said(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> HttpResponse:
    """Where other contents are planned by now, the page itself is another one."""
    shown_of = request.GET.get("of")
    if shown_of and shown_of != diffs.mark_of(comments.item_of(promotion, key)):
        return in_place_of_the_page(
            render(request, "promotions/review.html", page.context(visit, promotion, key, request.GET.dict()))
        )
    return render(
        request, "promotions/_said_everywhere.html", page.threads_at(visit, promotion, key, request.GET.getlist("at"))
    )


def _act(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> HttpResponse:
    """Say, resolve or mark something; answers the part of the page that changed, or leads back to the page."""
    action = request.POST.get("action", "")
    act, part = ACTIONS.get(action, (None, ""))
    if act is None:
        raise Invalid("That action is not known.")
    node, error = request.POST.get("node", ""), None
    try:
        act(request, visit, promotion, key)
    except Invalid as invalid:
        error = invalid
    if not is_partial(request):
        if error is not None:
            raise error
        return redirect(_after(visit, promotion, request.path, key))
    return render(request, part, _part(request, visit, promotion, key, node, error), status=422 if error else 200)


def _after(visit: Visit, promotion: Promotion, here: str, key: str) -> str:
    """Where the comments are: on the promotion's page where the workflow has no review of its own any more."""
    if any(item.key == key for item in read_plan(promotion.plan).items):
        return f"{here}#comments"
    there = reverse("promotion", kwargs={"tenant_slug": visit.tenant.slug, "pk": promotion.pk})
    return f"{there}#review"


def _part(
    request: HttpRequest, visit: Visit, promotion: Promotion, key: str, node: str, error: OpsError | None
) -> dict[str, object]:
    shown = page.discussed(visit, promotion, key)
    typed = request.POST.get("text", "") if error else ""
    thread = shown["discussion"].of(node)
    return {**shown, "node": node, "thread": thread, "error": error, "typed": typed, "key": key}


def _comment(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> None:
    comments.add(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        workflow_key=key,
        node=request.POST.get("node", ""),
        text=request.POST.get("text", ""),
        by=visit.user,
    )


def _edit(request: HttpRequest, visit: Visit, promotion: Promotion, _key: str) -> None:
    comments.edit(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        comment_id=_named(request),
        text=request.POST.get("text", ""),
        by=visit.user,
    )


def _delete(request: HttpRequest, visit: Visit, promotion: Promotion, _key: str) -> None:
    comments.delete(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, comment_id=_named(request), by=visit.user)


def _resolve(request: HttpRequest, visit: Visit, promotion: Promotion, _key: str) -> None:
    comments.set_resolved(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        comment_id=_named(request),
        resolved=request.POST["action"] == "resolve",
        by=visit.user,
    )


def _view(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> None:
    viewed.set_viewed(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        workflow_key=key,
        viewed=request.POST["action"] == "view",
        by=visit.user,
    )


def _named(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("comment", ""))
    except ValueError as error:
        raise Invalid("Which comment is meant?") from error


_THREAD, _VIEWED = "promotions/_thread.html", "promotions/_viewed.html"
ACTIONS: dict[str, tuple[Act, str]] = {
    "comment": (_comment, _THREAD),
    "edit": (_edit, _THREAD),
    "delete": (_delete, _THREAD),
    "resolve": (_resolve, _THREAD),
    "reopen": (_resolve, _THREAD),
    "view": (_view, _VIEWED),
    "unview": (_view, _VIEWED),
}
