"""What a hostile n8n answers: made while it is sent, so that whoever reads it is the only one to hold it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from sandbox.schema import PROFILES, openapi

CHUNK_BYTES = 64 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """``head``, then ``part`` as often as it takes to fill ``mib``, then ``tail``; packed by gzip where asked."""

    head: bytes = b""
    part: bytes = b""
    tail: bytes = b""
    mib: float = 23
    gzip: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def plain(self) -> Iterator[bytes]:
        yield self.head
        if self.part:
            chunk = self.part * max(1, CHUNK_BYTES // len(self.part))
            for _ in range(max(1, int(self.mib * MIB) // len(chunk))):
                yield chunk
        yield self.tail

    def sent(self) -> Iterator[bytes]:
        if not self.gzip:
            yield from self.plain()
            return
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        for chunk in self.plain():
            yield packer.compress(chunk)
        yield packer.flush()


def inside(before: bytes, after: bytes, *, part: bytes, first: bytes = b"", mib: float = 23) -> Body:
    """A list of one workflow, with many times ``part`` somewhere in it."""
    return Body(b'{"data":[{"id":"1","name":"Odd",' + before + first, part, after + b"}]}", mib)


IN_A_NODE = b'"connections":{},"nodes":[{"name":"a","type":"x","parameters":{"v":'
LARGE = {
    "a gzip bomb": Body(b'{"data":[', b" " * 1024, b"]}", mib=2000, gzip=True),
    "a gzip bomb that is just small enough": Body(b'{"data":[', b" " * 1024, b"]}", gzip=True),
    "blanks, more than is taken": Body(b'{"data":[', b" " * 1024, b"]}", mib=100),
    "blanks": Body(b'{"data":[', b" " * 1024, b"]}"),
    "tiny rows": Body(b'{"data":[{"id":"0"}', b',{"id":"1"}', b"]}"),
    "tiny rows, a page that is just small enough": Body(b'{"data":[{"id":"0"}', b',{"id":"1"}', b"]}", mib=7.9),
    "brackets": Body(b"", b"[", b"", mib=7.9),
    "deep inside a workflow": inside(b'"nodes":[],"settings":', b"", part=b'{"a":'),
    "a number without an end": Body(b'{"data":', b"1" * 1024, b"}"),
    "digits inside a workflow": inside(IN_A_NODE, b"}}]", part=b"1" * 1024),
    "digits inside a small workflow": inside(IN_A_NODE, b"}}]", part=b"1" * 1024, mib=4),
    "numbers": inside(IN_A_NODE + b"[0", b"]}}]", part=b",123456789"),
    "empty lists": inside(IN_A_NODE + b"[0", b"]}}]", part=b",[]"),
    "empty lists, just few enough": inside(IN_A_NODE + b"[0", b"]}}]", part=b",[]", mib=0.5),
    "objects, just few enough": inside(IN_A_NODE + b"[0", b"]}}]", part=b',{"a":1}', mib=1.4),
    "one large text": inside(IN_A_NODE + b'"', b'"}}]', part=b"a" * 1024),
    "one large text of a workflow that n8n takes": inside(IN_A_NODE + b'"', b'"}}]', part=b"a" * 1024, mib=15),
    "one large text with an emoji": inside(IN_A_NODE + b'"\xf0\x9f\x98\x80', b'"}}]', part=b"a" * 1024),
    "a text with an emoji, just small enough": inside(
        IN_A_NODE + b'"\xf0\x9f\x98\x80', b'"}}]', part=b"a" * 1024, mib=9
    ),
    "half an emoji and much else": inside(IN_A_NODE + b'["\\ud83d"', b"]}}]", part=b",[0]"),
    "half an emoji in a page": inside(IN_A_NODE + b'["\\ud83d"', b"]}}]", part=b",[0]", mib=1.5),
    "pinned data that n8n takes": inside(
        b'"nodes":[],"pinData":{"a":[0', b"]}", part=b',{"json":{"a":1,"b":[1,2]}}', mib=15.5
    ),
    "pinned data of half as much again": inside(
        b'"nodes":[],"pinData":{"a":[0', b"]}", part=b',{"json":{"a":1}}', mib=22
    ),
    "a name": Body(b'{"data":[{"id":"1","nodes":[],"name":"', b"n" * 1024, b'"}]}'),
    "an id": Body(b'{"data":[{"nodes":[],"name":"Odd","id":"', b"1" * 1024, b'"}]}'),
    "a cursor": Body(b'{"data":[{"id":"1","nodes":[]}],"nextCursor":"', b"c" * 1024, b'"}', mib=7.9),
    "no JSON": Body(b"", b"<html>" * 100, b""),
}
"""By name, answers to everything that is asked. All are more than they seem."""
LARGE["many keys"] = Body(b'{"data":[{"id":"1","nodes":[]', b"", b"}]}")


class ManyKeys(Body):
    """An object in which each key is another, in a workflow."""

    def plain(self) -> Iterator[bytes]:
        yield b'{"data":[{"id":"1","name":"Odd","connections":{},"nodes":[{"name":"a","type":"x","parameters":{"v":0'
        sent, number = 0, 0
        while sent < self.mib * MIB:
            chunk = b"".join(b',"k%d":0' % n for n in range(number, number + 5000))
            number, sent = number + 5000, sent + len(chunk)
            yield chunk
        yield b"}}]}]}"


LARGE["many keys"] = ManyKeys()
LARGE["many keys, just few enough"] = ManyKeys(mib=2.5)


class Answering(httpx.BaseTransport):
    """An n8n that answers every call with one body, and its contract truly where it is asked for."""

    def __init__(self, body: Body, *, with_contract: bool = True) -> None:
        self._body, self._contract = body, openapi(PROFILES["2.20"]) if with_contract else None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openapi.yml") and self._contract is not None:
            return httpx.Response(200, content=self._contract)
        headers = {"content-type": "application/json", **self._body.headers}
        if self._body.gzip:
            headers["content-encoding"] = "gzip"
        return httpx.Response(200, headers=headers, stream=_Stream(self._body))


class _Stream(httpx.SyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body.sent())
