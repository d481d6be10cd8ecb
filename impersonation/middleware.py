"""Applies a person's support session to each request: decides what it may do, and records it in the trail."""

from __future__ import annotations

import gzip
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from core import support
from core.errors import OpsError
from core.middleware import error_response
from core.support_rules import Rule
from tenants.models import ApiToken

from . import live as live_sessions
from . import services
from .errors import SupportEnded
from .live import HINT, Live, SessionContext

HEADER = "X-OpsConsole-Support-Session"
CHECK_EVERY_SECONDS = 1.5
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class SupportSessionMiddleware:
    """Comes after the sign-in's middleware. Without a session it costs nothing; with one, a single query."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        request.support_session_context = SessionContext()  # type: ignore[attr-defined]
        try:
            return self._answer(request)
        finally:
            request.support_session_context.release()  # type: ignore[attr-defined]

    def _answer(self, request: HttpRequest) -> Any:
        live = None if request.path.startswith("/api/v1/") else _of_browser(request)
        if live is not None and live.over:
            answer = _over(request, live)
            if answer is not None:
                return answer
            live = None
        if live is None:
            response = self.get_response(request)
            # A token's session is found only when the API has read the token.
            found: Live | None = getattr(request, "support_session", None)
            return response if found is None else self._finish(request, found, response)
        request.support_session = live  # type: ignore[attr-defined]
        try:
            rule = admit(request, live)
        except OpsError as error:
            return with_banner(request, live, refuse(request, live, error))
        if rule is Rule.OUTSIDE:
            return with_banner(request, live, self.get_response(request))
        return self._finish(request, live, self.get_response(request))

    def _finish(self, request: HttpRequest, live: Live, response: HttpResponseBase) -> HttpResponseBase:
        if not getattr(request, "support_recorded", False):
            reading = request.method in READING or getattr(request, "support_rule", None) is Rule.READ
            # A job that ended with an error was not refused: it ran, and may have written.
            carried_out = getattr(response, "tells_an_end", False)
            refused = _refusal_code(response) if response.status_code in (403, 409) and not carried_out else ""
            live_sessions.record_request(request, live, status=response.status_code, refused=refused, reading=reading)
        response[HEADER] = f"{live.id}; mode={live.mode}; expires={live.expires_at.isoformat()}"
        response["Cache-Control"] = response.get("Cache-Control", "no-store")
        found: HttpResponseBase = with_banner(request, live, guarded_stream(live, response))
        return found


def _refusal_code(response: HttpResponseBase) -> str:
    return str(getattr(response, "error_code", "")) or ("FORBIDDEN" if response.status_code == 403 else "")


def _of_browser(request: HttpRequest) -> Live | None:
    hint = request.session.get(HINT)
    user = request.user
    if not hint or not user.is_authenticated:
        return None
    found = live_sessions.read(
        actor_id=user.pk,
        session_id=uuid.UUID(hint),
        session_key=request.session.session_key or "",
        touch=not _by_itself(request),
    )
    if found is None:
        del request.session[HINT]
    return found


def _by_itself(request: HttpRequest) -> bool:
    """Whether the page asks by itself, without anybody at the keyboard: that does not count as use."""
    return request.headers.get("Accept") == "text/event-stream" or request.GET.get("part") == "live"


def _over(request: HttpRequest, live: Live) -> HttpResponseBase | None:
    """The session is over: say so once. On a customer's page that is the response; elsewhere the person continues."""
    del request.session[HINT]
    services.end_session(session_id=live.id, by=None, reason=live.over)
    if request.path.startswith("/t/"):
        return error_response(request, SupportEnded(details={"reason": live.over}))
    messages_ready = getattr(request, "_messages", None) is not None
    if messages_ready:
        messages.info(request, "Your support session has ended.")
    return None


def admit(request: HttpRequest, live: Live) -> Rule:
    """Let a request into the session, or raise why not. Activates the session where it runs as the customer's user."""
    sent = request.POST if request.method == "POST" else request.GET
    rule = live.rule_of(request.path_info, request.method or "", sent)
    if rule is not Rule.OUTSIDE:
        enter(request, live, rule)
    return rule


def enter(request: HttpRequest, live: Live, rule: Rule) -> None:
    """From here on the request is the customer's user's, recorded as both people's."""
    request.real_user = request.user  # type: ignore[attr-defined]
    request.user = live.user

    async def auser() -> Any:
        return live.user

    request.auser = auser
    request.support_rule = rule  # type: ignore[attr-defined]
    request.support_session_context.take(live)  # type: ignore[attr-defined]


def refuse(request: HttpRequest, live: Live, error: OpsError) -> HttpResponse:
    """The response to what a session must not do, recorded in the trail."""
    live_sessions.record_request(request, live, status=error.status, refused=error.code)
    request.support_recorded = True  # type: ignore[attr-defined]
    response = error_response(request, error)
    response[HEADER] = f"{live.id}; mode={live.mode}; expires={live.expires_at.isoformat()}"
    return response


def token_in_session(request: HttpRequest, token: ApiToken) -> ApiToken:
    """Called by ``tenants.api`` for each token of staff: where it leads a session, a token of the customer's user."""
    session_context = getattr(request, "support_session_context", None)
    live = live_sessions.read(actor_id=token.user_id, token_id=token.pk)
    if live is None or session_context is None:
        return token
    if live.over:
        services.end_session(session_id=live.id, by=None, reason=live.over)
        raise SupportEnded(details={"reason": live.over})
    request.support_session = live  # type: ignore[attr-defined]
    request.real_token = token  # type: ignore[attr-defined]
    try:
        rule = admit(request, live)
    except OpsError as error:
        live_sessions.record_request(request, live, status=error.status, refused=error.code)
        request.support_recorded = True  # type: ignore[attr-defined]
        raise
    if rule is Rule.OUTSIDE:
        request.support_recorded = True  # type: ignore[attr-defined]
        return token
    # A stand-in that is never saved: the customer's user, in this tenant only.
    stand_in = ApiToken(id=token.pk, name=token.name, prefix=token.prefix, tenant_id=live.tenant.pk, permissions=[])
    stand_in.user = live.user
    stand_in._state.adding = False
    return stand_in


# ---- the banner

BANNER_ID = b'id="support-banner"'


def with_banner(request: HttpRequest, live: Live, response: Any) -> Any:
    """The banner on every HTML page: pages without it get it after ``<body>``."""
    if not response.get("Content-Type", "").startswith("text/html"):
        return response
    if getattr(response, "streaming", False):
        response.streaming_content = _banner_in_stream(request, live, response.streaming_content)
        return response
    packed = response.get("Content-Encoding") == "gzip"
    content = gzip.decompress(response.content) if packed else response.content
    if BANNER_ID in content or b"<body" not in content:
        return response
    content = insert_banner(content, banner(request, live))
    response.content = gzip.compress(content) if packed else content
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
    return response


def banner(request: HttpRequest, live: Live) -> bytes:
    return render_to_string("components/support_banner.html", {"support_session": live}, request).encode()


def insert_banner(content: bytes, drawn: bytes) -> bytes:
    head, body, rest = content.partition(b"<body")
    attributes, end, rest = rest.partition(b">")
    return head + body + attributes + end + drawn + rest


class _Inserter:
    """Inserts the banner into a stream of chunks; holds back the beginning until ``<body …>`` is complete."""

    LONGEST_HEAD = 64 * 1024

    def __init__(self, drawn: bytes) -> None:
        self._drawn, self._held, self._done = drawn, b"", False

    def feed(self, chunk: Any) -> bytes:
        part = chunk if isinstance(chunk, bytes) else str(chunk).encode()
        if self._done:
            return part
        self._held += part
        _, body, rest = self._held.partition(b"<body")
        if (not body or b">" not in rest) and len(self._held) < self.LONGEST_HEAD:
            return b""
        return self.rest()

    def rest(self) -> bytes:
        """What was held back, with the banner where there is a body."""
        held, self._held, done, self._done = self._held, b"", self._done, True
        return held if done or b"<body" not in held or BANNER_ID in held else insert_banner(held, self._drawn)


def _banner_in_stream(request: HttpRequest, live: Live, stream: Any) -> Any:
    inserter = _Inserter(banner(request, live))
    if hasattr(stream, "__aiter__"):

        async def later() -> AsyncIterator[bytes]:
            async for chunk in stream:
                yield inserter.feed(chunk)
            yield inserter.rest()

        return later()

    def now() -> Iterator[bytes]:
        for chunk in stream:
            yield inserter.feed(chunk)
        yield inserter.rest()

    return now()


# ---- streams end with the session


def guarded_stream(live: Live, response: Any) -> Any:
    """Make a streamed response stop within seconds of the session's end."""
    if not getattr(response, "streaming", False):
        return response
    stream, session = response.streaming_content, live.in_force()
    if hasattr(stream, "__aiter__"):

        async def later() -> AsyncIterator[Any]:
            checked = time.monotonic()
            while True:
                with support.in_force(session):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                if time.monotonic() - checked > CHECK_EVERY_SECONDS:
                    checked = time.monotonic()
                    if not await sync_to_async(services.is_live)(live.id):
                        return
                yield chunk

        response.streaming_content = later()
        return response

    def now() -> Iterator[Any]:
        checked, chunks = time.monotonic(), iter(stream)
        while True:
            with support.in_force(session):
                chunk = next(chunks, None)
            if chunk is None:
                return
            if time.monotonic() - checked > CHECK_EVERY_SECONDS:
                checked = time.monotonic()
                if not services.is_live(live.id):
                    return
            yield chunk

    response.streaming_content = now()
    return response
