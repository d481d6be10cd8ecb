"""Answers that are small on the wire and huge once unpacked."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest

from workflows.n8n import N8nClient, errors
from workflows.n8n.http import Http, Limits
from workflows.n8n.unpacking import unpacking_of

MIB = 1024 * 1024


def zeros(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(mebibytes)), packer.flush()])


def http(answer: Callable[[httpx.Request], httpx.Response], **limits: int) -> Http:
    return Http("http://n8n.test", "k", limits=Limits(attempts=1, **limits), transport=httpx.MockTransport(answer))


def packed(body: bytes, encoding: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, headers={"content-encoding": encoding}, stream=httpx.ByteStream(body))


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (zeros(256), "gzip", errors.TooLarge),
        (gzip.compress(zeros(256)), "gzip, gzip", errors.NotAnApi),
        (zlib.compress(bytes(MIB)), "deflate", errors.NotAnApi),
        (b"{}", "br", errors.NotAnApi),
        (b"{}", "gzip", errors.NotAnApi),
        (gzip.compress(b"{}" * 100)[:-9], "gzip", errors.ConnectionDropped),
        (gzip.compress(b"{}") * 2, "gzip", errors.ConnectionDropped),
    ],
    ids=["bomb", "bomb within", "deflate", "brotli", "no gzip", "cut off", "two in a row"],
)
def test_a_packed_answer_costs_no_more_than_its_limit(body: bytes, encoding: str, error: type[Exception]) -> None:
    asking = http(packed(body, encoding), max_bytes=MIB)
    tracemalloc.start()
    with pytest.raises(error):
        asking.call("GET", "/workflows")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MIB


@pytest.mark.parametrize("size", [0, 1, 4096, MIB])
def test_what_is_within_the_limit_arrives_whole(size: int) -> None:
    body = (b'{"a": 1}' * (size // 8 + 1))[:size]
    for wire, encoding in ((body, ""), (gzip.compress(body), "gzip"), (gzip.compress(body), "GZIP")):
        assert http(packed(wire, encoding), max_bytes=MIB).call("GET", "/x").body == body
    with pytest.raises(errors.TooLarge):
        http(packed(gzip.compress(bytes(MIB + 1)), "gzip"), max_bytes=MIB).call("GET", "/x")
    with pytest.raises(errors.TooLarge):
        http(packed(bytes(MIB + 1), ""), max_bytes=MIB).call("GET", "/x")


def test_however_it_is_cut_into_pieces() -> None:
    body = bytes(range(256)) * 4000
    wire = gzip.compress(body)
    for step in (1, 7, 1000):
        unpacking = unpacking_of("gzip", asked="gzip", limit_bytes=len(body))
        parts = [unpacking.feed(wire[start : start + step]) for start in range(0, len(wire), step)]
        unpacking.end()
        assert b"".join(parts) == body


def test_only_what_was_asked_for_is_unpacked() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, json={})

    http(answer).call("GET", "/x")
    assert asked == ["gzip"]
    with pytest.raises(errors.NotAnApi):
        unpacking_of("gzip", asked="identity", limit_bytes=1)


def test_a_write_whose_answer_cannot_be_unpacked_may_have_been_carried_out() -> None:
    with pytest.raises(errors.AmbiguousWrite):
        http(packed(b"{}", "br")).call("PUT", "/workflows/1", body={})


def test_an_answer_of_many_small_values_is_refused_before_it_is_parsed() -> None:
    body = b'{"data": [' + b"[]," * 500_000 + b"[]]}"
    with N8nClient(base_url="http://n8n.test", api_key="k", transport=httpx.MockTransport(packed(body, ""))) as client:
        tracemalloc.start()
        with pytest.raises(errors.TooLarge):
            client.all_of("/variables")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize("value", ["²", "1e999", "-1", "Wed, 99 Foo 2026", "9" * 400, ""])
def test_an_odd_retry_after_is_no_reason_to_break(value: str) -> None:
    waits: list[float] = []
    answers = iter([httpx.Response(429, headers={"retry-after": value.encode()}), httpx.Response(200, json={})])
    asking = Http(
        "http://n8n.test", "k", limits=Limits(attempts=2), sleep=waits.append,
        transport=httpx.MockTransport(lambda _: next(answers)),
    )  # fmt: skip
    assert asking.call("GET", "/x").status == 200
    assert 0 <= waits[0] <= Limits().max_wait
