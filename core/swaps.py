"""Answers that replace more of a page than what asked for them."""

from __future__ import annotations

from django.http import HttpResponse


def in_place_of_the_page(answer: HttpResponse) -> HttpResponse:
    """Have htmx put a whole page's content in place of the one that is shown.

    A live part asks for itself while work goes on. Once that has ended, everything beside it has changed too: the
    state in the head, what can be done, the facts, the history.
    """
    answer["HX-Retarget"] = answer["HX-Reselect"] = "#content"
    answer["HX-Reswap"] = "outerHTML"
    return answer
