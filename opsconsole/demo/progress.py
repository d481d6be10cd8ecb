"""How far the demo estate is: for the pages of whoever signs in while it is being filled."""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from core.support_rules import OUTSIDE, in_support_session

KEY = "demo:progress"
#: A part takes seconds; a run that was killed is not shown for ever.
KEPT_SECONDS = 120


class Progress(msgspec.Struct, frozen=True):
    """``done`` of ``total`` parts; the one that is being made in words, empty at the end."""

    done: int
    total: int
    doing: str = ""


class Parts:
    """Tells which part of a known number is being made."""

    def __init__(self, total: int) -> None:
        self._begun, self._total = -1, total + 1

    def begin(self, words: str) -> None:
        self._begun += 1
        _tell(Progress(self._begun, self._total, words))

    def end(self) -> None:
        _tell(Progress(self._total, self._total))


def _tell(progress: Progress) -> None:
    cache.set(KEY, msgspec.to_builtins(progress), KEPT_SECONDS)


def current() -> Progress | None:
    """None where nothing has been filled lately."""
    kept = cache.get(KEY)
    return None if kept is None else msgspec.convert(kept, Progress)


def in_templates(request: HttpRequest) -> dict[str, Any]:
    """``demo_progress`` while the estate is being filled. A context processor of the demo's mode alone."""
    progress = current()
    return {"demo_progress": progress if progress is not None and progress.doing else None}


@in_support_session(OUTSIDE)
@require_GET
@never_cache
def demo_progress(request: HttpRequest) -> HttpResponse:
    """The banner as it is now; empty where there is nothing to say. There is no such page but in the demo's mode."""
    if settings.MODE != "demo":
        raise Http404
    return render(request, "components/demo_progress.html", {"demo_progress": current()})
