"""What HTMX asks for: the whole page, or a part of it."""

from __future__ import annotations

from django.http import HttpRequest


def is_partial(request: HttpRequest, *, target: str = "") -> bool:
    """Whether a part of the page is asked for; with ``target``, the one of that id.

    A boosted link and a page that comes back out of the browser's history are whole pages.
    """
    htmx = getattr(request, "htmx", None)
    if not htmx or htmx.boosted or htmx.history_restore_request:
        return False
    return not target or htmx.target == target
