"""Reads what requests bring before they are worked on: who sends slowly keeps nobody waiting, and is not waited for.

Belongs to one event loop. Each process counts for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .errors import OpsError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyTooLarge(OpsError):
    code = "TOO_LARGE"
    title = "Too much in one request"
    message = "The request brings more than the console takes in one."
    recovery = "Send less at a time: fewer workflows, or shorter text."
    status = 413


class BodyTooSlow(OpsError):
    """Also for the one that takes longest where somebody sends too many requests at a time."""

    code = "TOO_SLOW"
    title = "It did not arrive in time"
    message = "The request took too long to arrive, and nothing was done."
    recovery = "Send it again. Where that happens often, the connection loses what is sent."
    status = 408


class ClientGone(Exception):
    """Nobody waits for an answer any more."""


class Bodies:
    """At most ``at_once`` under each name arrive at a time: one more, and the one that takes longest is given up."""

    def __init__(self, *, at_once: int, seconds: float, most_bytes: int) -> None:
        self._at_once, self._seconds, self._most_bytes = at_once, seconds, most_bytes
        self._arriving: dict[str, dict[asyncio.Timeout, None]] = {}

    def __len__(self) -> int:
        """Under how many names something arrives."""
        return len(self._arriving)

    async def arrived(self, name: str, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """What the application is to read from, once all is here.

        Raises ``ClientGone``, ``BodyTooLarge`` and ``BodyTooSlow``.
        """
        if not _brings_a_body(headers):
            return receive
        if _announced(headers) > self._most_bytes:
            raise BodyTooLarge
        return _read_again(await self._in_time(name, receive), receive)

    async def _in_time(self, name: str, receive: Receive) -> bytes:
        arriving = self._arriving.setdefault(name, {})
        if len(arriving) >= self._at_once:
            longest = next(iter(arriving))
            del arriving[longest]
            longest.reschedule(asyncio.get_running_loop().time())
        limit = asyncio.timeout(self._seconds)
        arriving[limit] = None
        try:
            async with limit:
                return await self._whole(receive)
        except TimeoutError as error:
            raise BodyTooSlow from error
        finally:
            arriving.pop(limit, None)
            if not arriving and self._arriving.get(name) is arriving:
                del self._arriving[name]

    async def _whole(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > self._most_bytes:
                raise BodyTooLarge
            if not message.get("more_body", False):
                return bytes(body)


def _brings_a_body(headers: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or _announced(headers) > 0


def _announced(headers: Mapping[bytes, bytes]) -> int:
    told = headers.get(b"content-length", b"").strip()
    return int(told) if told.isdigit() else 0


def _read_again(body: bytes, receive: Receive) -> Receive:
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again
