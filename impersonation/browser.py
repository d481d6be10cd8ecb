"""Which browser a request comes from: its sign-in, and a cookie that outlives sign-ins."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from .services import RequestOrigin, digest

COOKIE = "opsconsole_browser"
KEPT_SECONDS = 365 * 24 * 3600


def origin_of(request: HttpRequest) -> RequestOrigin:
    """The sign-in and the browser of a page's request."""
    return RequestOrigin(sign_in=digest(request.session.session_key or ""), browser=browser_of(request))


def browser_of(request: HttpRequest) -> str:
    """Digest of the browser's cookie; '' where it has none."""
    return digest(request.COOKIES.get(COOKIE, ""))


def with_browser_cookie(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The response, with the browser's cookie if it has none: an approval from the requester's browser is refused."""
    if COOKIE not in request.COOKIES:
        response.set_cookie(
            COOKIE, secrets.token_urlsafe(24), max_age=KEPT_SECONDS, httponly=True, samesite="Lax",
            secure=settings.PRODUCTION,
        )  # fmt: skip
    return response
