"""The forms of a page with comments, and what they are answered with."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render

from core.errors import Invalid
from core.htmx import is_partial
from tenants.models import User

from . import comments
from .comments import Subject
from .reading import Discussion

THREAD, SAID_EVERYWHERE = "workflows/_thread.html", "workflows/_said_everywhere.html"


class Add(Protocol):
    """How something is said of a node ('' for the whole workflow) here."""

    def __call__(self, *, node: str, text: str) -> object: ...


def answer(
    request: HttpRequest,
    subject: Subject[Any],
    add: Add,
    *,
    by: User,
    discussion: Callable[[], Discussion],
    back: Callable[[], str],
) -> HttpResponse:
    """Do what the form asks for; answer with the thread that it changed, or lead ``back`` to the page.

    What is refused as invalid stands in the thread, with what was typed.
    """
    form, error = request.POST, None
    try:
        _act(form, subject, add, by=by)
    except Invalid as invalid:
        if not is_partial(request):
            raise
        error = invalid
    if not is_partial(request):
        return redirect(back())
    shown, node = discussion(), form.get("node", "")
    context = {
        "discussion": shown,
        "node": node,
        "thread": shown.of(node),
        "error": error,
        "typed": form.get("text", "") if error else "",
    }
    return render(request, THREAD, context, status=422 if error else 200)


def _act(form: QueryDict, subject: Subject[Any], add: Add, *, by: User) -> None:
    text = form.get("text", "")
    match form.get("action", ""):
        case "comment":
            add(node=form.get("node", ""), text=text)
        case "edit":
            comments.edit(subject, comment_id=_named(form), text=text, by=by)
        case "delete":
            comments.delete(subject, comment_id=_named(form), by=by)
        case "resolve" | "reopen" as action:
            comments.set_resolved(subject, comment_id=_named(form), resolved=action == "resolve", by=by)
        case _:
            raise Invalid("That action is not known.")


def _named(form: QueryDict) -> uuid.UUID:
    try:
        return uuid.UUID(form.get("comment", ""))
    except ValueError as error:
        raise Invalid("Which comment is meant?") from error
