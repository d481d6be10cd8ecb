"""Names the request and the person, so that everything below knows who is acting."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest

from core import clock, context
from core.clients import client_address
from core.pacing import known_as

from .sessions import stored_key

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
SEEN_EVERY = timedelta(minutes=1)


class RequestContextMiddleware:
    """Gives each request an id and a clean context.

    A well-formed ``X-Request-ID`` is believed where our own proxies write it (``OPSCONSOLE_TRUSTED_PROXIES``): the
    trail is searched by it, and a caller could make two requests look like one, or like somebody else's.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        given = request.headers.get("X-Request-ID", "") if settings.TRUSTED_PROXIES else ""
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        token = context.set_current(
            context.ActionContext(
                request_id=request_id,
                source="api" if request.path.startswith("/api/") else "web",
                ip_address=client_address(request),
                user_agent=request.headers.get("User-Agent", "")[:300],
            )
        )
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
        finally:
            context.reset(token)
            structlog.contextvars.clear_contextvars()
        response["X-Request-ID"] = request_id
        if "Cache-Control" not in response and _is_personal(request):
            # Not even in the browser: the back button shows nothing once the person, or the session, is gone.
            response["Cache-Control"] = "private, no-store"
        return response


def _is_personal(request: HttpRequest) -> bool:
    return settings.SESSION_COOKIE_NAME in request.COOKIES or "Authorization" in request.headers


class ActorMiddleware:
    """Names the signed-in person in the context and notes when the sign-in was last seen."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            return self.get_response(request)
        known_as(request, f"page {user.pk}")
        self._note_seen(request)
        token = context.set_current(replace(context.current(), actor_id=user.pk))
        try:
            return self.get_response(request)
        finally:
            context.reset(token)

    def _note_seen(self, request: HttpRequest) -> None:
        from .models import UserSession

        last_text = request.session.get("_seen")
        now = clock.now()
        if last_text and now.timestamp() - float(last_text) < SEEN_EVERY.total_seconds():
            return
        request.session["_seen"] = now.timestamp()
        UserSession.objects.filter(session_key=stored_key(request.session.session_key)).update(last_seen_at=now)
