"""Who asks too much is refused, or waits, before anything is done for the request: others must not feel it.

Stands in front of Django. It knows a person by the sign-in or token that Django has accepted before (``known_as``),
everybody else by the address. Each person may ask ``REQUESTS_AT_ONCE`` times in a burst and ``REQUESTS_PER_SECOND``
from then on, pages and programs counted apart, and ``WORKING_AT_ONCE`` of these requests are worked on at a time; each
address ten times as often for all behind it. Calls that wait for something else give their turn back (``step_aside``),
and a request takes none before it has arrived whole (``core.bodies``). Each process counts for itself.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

import structlog
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, parse_cookie
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from prometheus_client import Counter

from .bodies import Bodies, BodyTooLarge, BodyTooSlow, ClientGone
from .budgets import MOST_NAMES, Budgets, LineFull, Turn, Turns
from .clients import believed_address
from .errors import OpsError
from .limits import TooFast
from .middleware import error_response

logger = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

ADDRESS_FACTOR = 10
"""How many people behind one address may ask as fast as one person may."""
WORKING_AT_ONCE = 3
LONGEST_LINE = 100
ARRIVING_AT_ONCE = 20
"""Requests with a body that may be on their way at a time: of one person, and as often the factor of an address."""
ARRIVES_WITHIN_SECONDS = 30.0
TOLD_EVERY_SECONDS = 60.0
_CREDENTIAL = "opsconsole.credential"
_HEALTH, _ADDRESS = "health ", "address "
#: Headers that may come more than once, with what joins them.
_JOINED = {b"cookie": b"; ", b"x-forwarded-for": b", "}

REFUSED = Counter("opsconsole_requests_refused_total", "Requests that were refused because too many were asked for")

_turn: ContextVar[Turn | None] = ContextVar("opsconsole_turn", default=None)
_people: OrderedDict[bytes, str] = OrderedDict()


def known_as(request: HttpRequest, person: str) -> None:
    """Count further requests with the sign-in or token of this one as this person's: Django has accepted it."""
    credential = getattr(request, "scope", {}).get(_CREDENTIAL)
    if credential:
        _people[credential] = person
        _people.move_to_end(credential)
        if len(_people) > MOST_NAMES:
            _people.popitem(last=False)


def step_aside() -> None:
    """Before a request waits for a job or for somebody else's server: another one of the same person may go on."""
    turn = _turn.get()
    if turn is not None:
        turn.give_back()


class Paced:
    """An ASGI application whose requests are paced. With ``OPSCONSOLE_REQUESTS_PER_SECOND`` 0 it lets all pass."""

    def __init__(self, app: App) -> None:
        rate, most = settings.REQUESTS_PER_SECOND, settings.REQUESTS_AT_ONCE
        self._app, self._is_on = app, rate > 0
        if self._is_on:
            self._of_person = Budgets(per_second=rate, most=most)
            self._of_address = Budgets(per_second=rate * ADDRESS_FACTOR, most=most * ADDRESS_FACTOR)
            self._told = Budgets(per_second=1 / TOLD_EVERY_SECONDS, most=1)
            self._turns = Turns(most=WORKING_AT_ONCE, longest_line=LONGEST_LINE)
            self._turns_of_address = Turns(most=WORKING_AT_ONCE * ADDRESS_FACTOR, longest_line=LONGEST_LINE)
            self._bodies = _bodies(ARRIVING_AT_ONCE)
            self._bodies_of_address = _bodies(ARRIVING_AT_ONCE * ADDRESS_FACTOR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_on:
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        address = _address(scope, headers)
        who = _who(scope, headers, address)
        seconds = self._seconds_short(who, address)
        if seconds:
            await self._refuse(scope, headers, send, who, seconds)
            return
        try:
            arrived = await self._arrived(who or f"{_ADDRESS}{address}", headers, receive)
        except ClientGone:
            return
        except OpsError as error:
            await _tell(scope, headers, send, error)
            return
        if who is None:
            await self._app(scope, arrived, send)
        else:
            await self._in_turn(scope, headers, arrived, send, who)

    async def _arrived(self, name: str, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """See ``Bodies.arrived``: who sends slowly holds no turn meanwhile."""
        bodies = self._bodies_of_address if name.startswith(_ADDRESS) else self._bodies
        return await bodies.arrived(name, headers, receive)

    def _seconds_short(self, who: str | None, address: str) -> float:
        """How long until it may be asked; where it may now, it is counted. What is refused costs nothing."""
        asked = [(self._of_person, who)] if who else []
        if who is None or not who.startswith(_HEALTH):
            asked.append((self._of_address, address))
        seconds = max(budget.seconds_short(name) for budget, name in asked)
        if not seconds:
            for budget, name in asked:
                budget.spend(name)
        return seconds

    async def _in_turn(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send, who: str
    ) -> None:
        try:
            turns = self._turns_of_address if who.startswith(_ADDRESS) else self._turns
            turn = await turns.take(who)
        except LineFull:
            await self._refuse(scope, headers, send, who, 1.0)
            return

        async def answer(message: MutableMapping[str, Any]) -> None:
            turn.give_back()  # what follows is sending, and for a live stream mostly waiting
            await send(message)

        token = _turn.set(turn)
        try:
            await self._app(scope, receive, answer)
        finally:
            _turn.reset(token)
            turn.give_back()

    async def _refuse(
        self, scope: Scope, headers: Mapping[bytes, bytes], send: Send, who: str | None, seconds: float
    ) -> None:
        REFUSED.inc()
        name = who or "the whole address"
        if not self._told.seconds_short(name):
            self._told.spend(name)
            logger.warning("requests are refused: too many", who=name, path=scope["path"])
        await _tell(scope, headers, send, TooFast(), (b"retry-after", str(math.ceil(seconds)).encode()))


def _bodies(at_once: int) -> Bodies:
    most_bytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return Bodies(at_once=at_once, seconds=ARRIVES_WITHIN_SECONDS, most_bytes=most_bytes)


async def _tell(
    scope: Scope, headers: Mapping[bytes, bytes], send: Send, error: OpsError, *more: tuple[bytes, bytes]
) -> None:
    """Answer with an error in the form that was asked for."""
    fixed, body = _refusal(_form(scope["path"], headers), error.code)
    await send({"type": "http.response.start", "status": error.status, "headers": [*fixed, *more]})
    await send({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        found[name] = found[name] + _JOINED[name] + value if name in found and name in _JOINED else value
    return found


def _address(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    direct = scope["client"][0] if scope.get("client") else ""
    return _as_counted(believed_address(direct, headers.get(b"x-forwarded-for", b"").decode("latin-1")))


def _as_counted(address: str) -> str:
    """IPv6 by its /64, all of which one customer has; an IPv4 address in IPv6 clothes as what it is."""
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address.partition("%")[0])
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))


def _who(scope: Scope, headers: Mapping[bytes, bytes], address: str) -> str | None:
    """Whose budget a request is taken from; None for files of ours, which count for the address alone.

    Health has a budget of its own: whoever watches over the console is told, whatever else comes from there.
    """
    path: str = scope["path"]
    if path.startswith(settings.STATIC_URL):
        return None
    if path.startswith(("/health", "/api/health", "/api/workflows/health")):
        return f"{_HEALTH}{address}"
    credential = _credential(path, headers)
    if not credential:
        return f"{_ADDRESS}{address}"
    scope[_CREDENTIAL] = credential
    return _people.get(credential) or f"{_ADDRESS}{address}"


def _credential(path: str, headers: Mapping[bytes, bytes]) -> bytes:
    """A digest of the token or the sign-in that a request brings; empty where it brings none.

    Pages know no tokens: what a proxy in front of them asks for is the same for everybody behind it.
    """
    secret = headers.get(b"authorization", b"") if path.startswith("/api/") else b""
    if not secret:
        cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
        secret = cookies.get(settings.SESSION_COOKIE_NAME, "").encode("latin-1", "replace")
    return hashlib.sha256(secret).digest() if secret else b""


def _form(path: str, headers: Mapping[bytes, bytes]) -> str:
    if path.startswith("/api/"):
        return "api"
    return "fragment" if headers.get(b"hx-request") == b"true" and b"hx-boosted" not in headers else "page"


class _Asked(HttpRequest):
    """A request in one of the forms that an error is told in. Nothing of it leads to the database."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.method = "GET"
        self.path = self.path_info = "/api/" if form == "api" else "/"
        self.META = {"SERVER_NAME": "localhost", "SERVER_PORT": "443"}
        if form == "fragment":
            self.META["HTTP_HX_REQUEST"] = "true"

    def _get_scheme(self) -> str:
        return "https"  # whoever came this far is not sent elsewhere


_ERRORS: dict[str, type[OpsError]] = {kind.code: kind for kind in (TooFast, BodyTooLarge, BodyTooSlow)}


@cache
def _refusal(form: str, code: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the answer in a form, made once: with those that the middlewares give every answer."""
    drawn: Any = partial(error_response, error=_ERRORS[code]())
    for middleware in (XFrameOptionsMiddleware, CSPMiddleware, SecurityMiddleware):
        drawn = middleware(drawn)
    response = drawn(_Asked(form))
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))
    return [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.items()], response.content
