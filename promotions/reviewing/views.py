"""Pages of a review: one workflow of a promotion with its diff, and what is said of it."""

from __future__ import annotations

import uuid
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.htmx import is_partial
from core.support_rules import READS_AND_WRITES, in_support_session
from core.swaps import in_place_of_the_page
from promotions.models import Promotion
from promotions.planning.documents import read_plan
from promotions.reading import diffs
from promotions.rows import get_promotion
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from workflows.discussing import answering

from . import comments, page, viewed


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
    return render(request, answering.SAID_EVERYWHERE, page.threads_at(visit, promotion, key, request.GET.getlist("at")))


def _act(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> HttpResponse:
    """Say, resolve or mark something; answers the part of the page that changed, or leads back to the page."""
    if request.POST.get("action") in ("view", "unview"):
        return _mark(request, visit, promotion, key)
    return answering.answer(
        request,
        comments.subject_of(promotion),
        partial(comments.add, tenant_id=visit.tenant.pk, promotion_id=promotion.pk, workflow_key=key, by=visit.user),
        by=visit.user,
        discussion=lambda: page.discussed(visit, promotion, key)["discussion"],
        back=lambda: _after(visit, promotion, request.path, key),
    )


def _mark(request: HttpRequest, visit: Visit, promotion: Promotion, key: str) -> HttpResponse:
    viewed.set_viewed(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        workflow_key=key,
        viewed=request.POST["action"] == "view",
        by=visit.user,
    )
    if not is_partial(request):
        return redirect(_after(visit, promotion, request.path, key))
    return render(request, "promotions/_viewed.html", page.discussed(visit, promotion, key))


def _after(visit: Visit, promotion: Promotion, here: str, key: str) -> str:
    """Where the comments are: on the promotion's page where the workflow has no review of its own any more."""
    if any(item.key == key for item in read_plan(promotion.plan).items):
        return f"{here}#comments"
    there = reverse("promotion", kwargs={"tenant_slug": visit.tenant.slug, "pk": promotion.pk})
    return f"{there}#review"
