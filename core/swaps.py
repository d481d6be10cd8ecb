"""Answers that replace more of a page than what asked for them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def in_place_of_the_page(answer: HttpResponse) -> HttpResponse:
    """Have htmx put a whole page's content in place of the one that is shown.

    A live part asks for itself while work goes on. Once that has ended, everything beside it has changed too: the
    state in the head, what can be done, the facts, the history.
    """
    answer["HX-Retarget"] = answer["HX-Reselect"] = "#content"
    answer["HX-Reswap"] = "outerHTML"
    return answer


def live_page(request: HttpRequest, template: str, context: dict[str, Any], *, goes_on: bool) -> HttpResponse:
    """Answer a page whose partial ``live`` asks for itself by ``?part=live`` while something goes on.

    It gets the partial as long as that is so, and once the whole page.
    """
    if request.GET.get("part") != "live":
        return render(request, template, context)
    if goes_on:
        return render(request, f"{template}#live", context)
    return in_place_of_the_page(render(request, template, context))
