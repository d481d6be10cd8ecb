"""What the browser at the door is: its sign-in, and a mark that outlives sign-ins, to tell one browser from two."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from .services import RequestOrigin, digest

COOKIE = "opsconsole_browser"
KEPT_SECONDS = 365 * 24 * 3600


def origin_of(request: HttpRequest) -> RequestOrigin:
    """Where a page's request comes from."""
    return RequestOrigin(sign_in=digest(request.session.session_key or ""), browser=browser_of(request))


def browser_of(request: HttpRequest) -> str:
    return digest(request.COOKIES.get(COOKIE, ""))


def marked(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The answer, with the browser's mark set if it has none: an approval from the same browser is refused."""
    if COOKIE not in request.COOKIES:
        response.set_cookie(
            COOKIE, secrets.token_urlsafe(24), max_age=KEPT_SECONDS, httponly=True, samesite="Lax",
            secure=settings.PRODUCTION,
        )  # fmt: skip
    return response
