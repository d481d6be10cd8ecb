"""How a hostile n8n behaves: slow, endless, packed, garbage, lies. Each answers any request, in this process."""

from __future__ import annotations

import gzip
import itertools
import time
from collections.abc import Callable, Iterator

import httpx

Answer = Callable[[httpx.Request], httpx.Response]


class _Stream(httpx.SyncByteStream):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def body(content: bytes, *, status: int = 200, **headers: str) -> Answer:
    given = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    sent = [(name.encode(), text.encode("latin-1")) for name, text in given.items()]
    return lambda _request: httpx.Response(status, headers=sent, stream=_Stream(iter([content])))


def streamed(chunks: Callable[[], Iterator[bytes]]) -> Answer:
    return lambda _request: httpx.Response(200, stream=_Stream(chunks()))


def failing(error: type[httpx.HTTPError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("made to fail", request=request)

    return answer


def dripping() -> Iterator[bytes]:
    yield b'{"data":['
    while True:
        time.sleep(0.02)
        yield b" "


def endless() -> Iterator[bytes]:
    return itertools.repeat(b" " * 65536)


def cut_off() -> Iterator[bytes]:
    yield b'{"data":[{"id":'
    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def another_cursor_each_time() -> Answer:
    numbers = itertools.count()

    def answer(_request: httpx.Request) -> httpx.Response:
        number = next(numbers)
        row = {"id": f"w{number}", "name": "N", "nodes": [], "connections": {}}
        return httpx.Response(200, json={"data": [row], "nextCursor": f"c{number}"})

    return answer


BOMB = gzip.compress(bytes(30 * 1024 * 1024))
SAME_CURSOR = b'{"data":[{"id":"1","name":"N","nodes":[],"connections":{}}],"nextCursor":"again"}'

#: By name, what makes the behaviour.
BEHAVIOURS: dict[str, Callable[[], Answer]] = {
    "never answers": lambda: failing(httpx.ReadTimeout),
    "cannot be connected to": lambda: failing(httpx.ConnectError),
    "does not take the connection": lambda: failing(httpx.ConnectTimeout),
    "hangs up": lambda: failing(httpx.RemoteProtocolError),
    "drips": lambda: streamed(dripping),
    "does not end": lambda: streamed(endless),
    "is cut off": lambda: streamed(cut_off),
    "always has another cursor": another_cursor_each_time,
    "always has the same cursor": lambda: body(SAME_CURSOR),
    "a bomb": lambda: body(BOMB, content_encoding="gzip"),
    "a bomb in a bomb": lambda: body(gzip.compress(BOMB), content_encoding="gzip, gzip"),
    "a packing that nobody asked for": lambda: body(b"x", content_encoding="br"),
    "no gzip though it says so": lambda: body(b'{"data":[]}', content_encoding="gzip"),
    "nothing": lambda: body(b""),
    "noise": lambda: body(bytes(range(256)) * 64),
    "a web page": lambda: body(b"<html><body>Sign in</body></html>"),
    "brackets": lambda: body(b"[" * 200_000),
    "a number": lambda: body(b"5"),
    "null": lambda: body(b"null"),
    "a list": lambda: body(b"[1,2,3]"),
    "a number for a list": lambda: body(b'{"data":5}'),
    "a list of numbers": lambda: body(b'{"data":[5]}'),
    "another cursor than a text": lambda: body(b'{"data":[],"nextCursor":{"a":1}}'),
    "not UTF-8": lambda: body(b'{"data":[{"id":"\xff","name":"\xff"}]}'),
    "half an emoji for an id": lambda: body(b'{"data":[{"id":"\\ud83d","name":"\\ud83d","nodes":[]}]}'),
    "unchanged, though nobody asked": lambda: body(b"", status=304),
    "a redirect": lambda: body(b"", status=302, location="http://169.254.169.254/"),
    "no content": lambda: body(b"", status=204),
    "a teapot": lambda: body(b'{"message":"short and stout"}', status=418),
    "the key is wrong": lambda: body(b'{"message":"unauthorized"}', status=401),
    "not found": lambda: body(b"<html>", status=404),
    "a fault of its own": lambda: body(b"<html>", status=500),
    "come back in squares": lambda: body(b"{}", status=429, retry_after="\u00b2"),
    "come back in a year": lambda: body(b"{}", status=429, retry_after="31536000"),
    "come back long ago": lambda: body(b"{}", status=429, retry_after="-5"),
}


class Hostile(httpx.BaseTransport):
    """Behaves in one way towards every request."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)
