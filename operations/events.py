"""Server-sent events about operations: polled from the rows, resumable, bounded, and gone with the sign-in."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from core import clock, context
from core.errors import OpsError
from core.middleware import error_response
from core.slots import Slots
from core.support import SupportEnded
from core.texts import json_bytes
from tenants.models import UserSession
from tenants.pages import Visit, open_visit
from tenants.scope import platform_scope, refuse_fallen_session, tenant_scope
from tenants.sessions import stored_key

from . import selectors
from .errors import TooManyStreams
from .models import Operation

POLL_SECONDS = 0.7
PING_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 600.0
EVENTS_AT_ONCE = 200
#: Streams at a time in one process: each asks the database every `POLL_SECONDS`.
MOST_STREAMS, MOST_OF_PERSON, MOST_OF_ADDRESS = 400, 16, 4

_streams = Slots()

Event = tuple[str, str, dict[str, Any]]  # id, name, data


def encode(event_id: str, name: str, data: dict[str, Any]) -> bytes:
    """One event on the wire."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\n".encode() + b"data: " + json_bytes(data, default=str) + b"\n\n"


class EventStream(StreamingHttpResponse):
    """A stream that holds its slots until it is closed, which Django does however it ends."""

    def __init__(self, body: AsyncIterator[bytes], *, slots: dict[str, int]) -> None:
        super().__init__(body, content_type="text/event-stream")
        self._slots = slots
        self["Cache-Control"] = "no-cache, no-transform"
        self["X-Accel-Buffering"] = "no"

    def close(self) -> None:
        slots, self._slots = self._slots, {}
        _streams.give_back(slots)
        super().close()


def stream(
    poll: Callable[[], list[Event]], alive: Callable[[], bool], *, listener_id: uuid.UUID | None
) -> StreamingHttpResponse:
    """A stream that asks ``poll`` for news and ends when ``alive`` says so. An event named ``done`` is the last.

    Raises ``TooManyStreams`` where the person who listens, or an address of which no person is known, has as many as
    it may.
    """
    address = context.current().ip_address
    own = {f"person {listener_id}": MOST_OF_PERSON} if listener_id else {f"address {address}": MOST_OF_ADDRESS}
    slots = {"all": MOST_STREAMS, **own}
    if not _streams.take(slots):
        raise TooManyStreams

    async def body() -> AsyncIterator[bytes]:
        began = last_ping = time.monotonic()
        yield b"retry: 2000\n" + encode("", "ready", {"at": clock.now().isoformat()})
        while time.monotonic() - began < LONGEST_STREAM_SECONDS:
            if not await sync_to_async(_closing(lambda: _stands() and alive()))():
                yield encode("", "ended", {"reason": "The sign-in or the support session has ended."})
                return
            for event in await sync_to_async(_closing(poll))():
                yield encode(*event)
                if event[1] == "done":
                    return
            if time.monotonic() - last_ping > PING_SECONDS:
                last_ping = time.monotonic()
                yield b": ping\n\n"
            await asyncio.sleep(POLL_SECONDS)

    return EventStream(body(), slots=slots)


async def tenant_stream(
    request: HttpRequest, tenant_slug: str, begin: Callable[[Visit], Callable[[], list[Event]]]
) -> HttpResponseBase:
    """A stream of what ``begin`` polls, for as long as the person is signed in and may see the tenant.

    ``begin`` raises what the page would: ``NotFound`` for what is not there.
    """
    user = await request.auser()
    if isinstance(user, AnonymousUser):
        return HttpResponse(status=401)
    session_key = stored_key(request.session.session_key)

    def alive() -> bool:
        try:
            open_visit(user=user, slug=tenant_slug)
        except OpsError:
            return False
        return UserSession.objects.filter(session_key=session_key, user__is_active=True).exists()

    try:
        poll = await sync_to_async(lambda: begin(open_visit(user=user, slug=tenant_slug)))()
        return stream(poll, alive, listener_id=user.pk)
    except OpsError as error:
        return error_response(request, error)


def _stands() -> bool:
    """Whether the support session that listens, if one does, still stands."""
    try:
        refuse_fallen_session()
    except SupportEnded:
        return False
    return True


def _closing(ask: Callable[[], Any]) -> Callable[[], Any]:
    """Give the connection back between two questions: a stream must not hold one for minutes."""

    def asked() -> Any:
        try:
            return ask()
        finally:
            if not connection.in_atomic_block:
                connection.close()

    return asked


def operation_poll(*, tenant_id: uuid.UUID, operation_id: uuid.UUID, last_id: str = "") -> Callable[[], list[Event]]:
    """News of one operation: ``state`` whenever progress, steps or state moved, ``done`` at the end."""
    seen = {"version": last_id}

    def poll() -> list[Event]:
        with tenant_scope(tenant_id):
            operation = Operation.objects.defer("params", "result").filter(pk=operation_id).first()
            if operation is None:
                return [("", "done", {})]
            steps = operation.steps.count()
        version = f"{selectors.version_of(operation)}-{steps}"
        if version == seen["version"]:
            return []
        seen["version"] = version
        data = {
            "id": str(operation.pk),
            "done": operation.progress_done,
            "total": operation.progress_total,
            "status": operation.status,
            "note": operation.progress_note,
        }
        return [(version, "state" if operation.is_open else "done", data)]

    return poll


def changes_poll(
    *, tenant_ids: list[uuid.UUID] | None, kinds: tuple[str, ...] = (), last_id: str = ""
) -> Callable[[], list[Event]]:
    """News of every operation of some tenants (None: all), from ``last_id`` on (default: from now)."""
    since = {"cursor": _cursor(last_id)}

    def poll() -> list[Event]:
        return list(_changes(tenant_ids, kinds, since))

    return poll


def _cursor(last_id: str) -> tuple[datetime, str]:
    moment, _, row_id = last_id.partition("_")
    try:
        return datetime.fromisoformat(moment), row_id
    except ValueError:
        return clock.now(), ""


def _changes(tenant_ids: list[uuid.UUID] | None, kinds: tuple[str, ...], since: dict[str, Any]) -> Iterator[Event]:
    moment, row_id = since["cursor"]
    with platform_scope():
        rows = Operation.objects.defer("params", "result").filter(updated_at__gte=moment)
        if row_id:
            rows = rows.filter(Q(updated_at__gt=moment) | Q(pk__gt=row_id))
        if tenant_ids is not None:
            rows = rows.filter(tenant_id__in=tenant_ids)
        if kinds:
            rows = rows.filter(kind__in=kinds)
        found = list(rows.order_by("updated_at", "pk")[:EVENTS_AT_ONCE])
    for operation in found:
        event_id = f"{operation.updated_at.isoformat()}_{operation.pk}"
        since["cursor"] = (operation.updated_at, str(operation.pk))
        yield (event_id, "operation", selectors.operation_row(operation))
