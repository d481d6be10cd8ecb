"""What a hostile n8n answers, at the door where it comes in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from workflows.content import ContentError, fingerprint
from workflows.identity import seen_workflow, stored_fingerprint
from workflows.n8n import N8nClient, errors
from workflows.n8n.http import Answer
from workflows.n8n.scopes import read_scopes
from workflows.structure import repaired, structure_faults

BAD = "a\0b\ud83d"
SPEC = b"paths: {/credentials: {get: {}}}"


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> N8nClient:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=SPEC) if request.url.path.endswith("openapi.yml") else answer(request)

    return N8nClient(base_url="http://n8n.test", api_key="k", transport=httpx.MockTransport(respond))


def answer_of(body: bytes) -> Answer:
    return Answer(200, httpx.Headers(), body)


@pytest.mark.parametrize("body", [rb'{"a\u0000": ["b\u0000"]}', rb'{"a\ud83d": ["b\uD83D"]}'])
def test_every_answer_can_be_stored_and_a_workflow_stays_exact(body: bytes) -> None:
    assert answer_of(body).json() == {"a\ufffd": ["b\ufffd"]}
    assert "\ufffd" not in str(answer_of(body).json(exact=True))
    assert answer_of(rb'["\ud83d\ude00"]').json() == ["\U0001f600"]


def test_a_workflow_is_kept_exact_and_its_identity_can_be_stored() -> None:
    raw = {
        "id": "1", "name": "N", "versionId": BAD, "activeVersionId": BAD * 50, "connections": {}, "settings": {},
        "activeVersion": {"authors": BAD, "name": BAD, "createdAt": BAD},
        "nodes": [{"name": "A", "type": BAD, "parameters": {"x": BAD}, "credentials": {BAD: {"id": BAD, "name": BAD}}}],
    }  # fmt: skip
    seen = seen_workflow(raw)
    stored = orjson.dumps([stored_fingerprint(seen.fingerprint, seen.node_types), seen.credentials, seen.version_id])
    assert seen.live is not None and b"\\u0000" not in stored + orjson.dumps(seen.live.to_json())
    assert len(seen.live.version_id) <= 64
    assert fingerprint(raw).credential_names == ("a\ufffdb\ufffd",)
    with client_of(
        lambda _: httpx.Response(200, content=rb'{"id": "1", "nodes": ["\u0000"], "versionId": "\u0000"}')
    ) as c:
        found = c.get_workflow("1")
    assert (found["nodes"], found["versionId"]) == (["\0"], "\ufffd")


def test_an_id_that_is_too_long_to_keep_is_no_workflow() -> None:
    with pytest.raises(ContentError):
        seen_workflow({"id": "1" * 65, "name": "N", "nodes": [], "connections": {}})


@pytest.mark.parametrize("path", ["orders\n", "orders\0", "half \ud83d", "x" * 70_000])
def test_an_odd_webhook_path_is_unknown(path: str) -> None:
    """n8n is asked as far as a request can carry it; this one says nothing."""
    with client_of(lambda _: httpx.Response(204)) as client:
        assert client.listening(f"POST {path}") == "unknown"
        with pytest.raises(errors.N8nError):
            client.call("GET", f"/{path}\ud83d\n")


def test_the_path_is_asked_for_as_it_is_written() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(204, headers={"access-control-allow-methods": "OPTIONS, POST"})

    with client_of(answer) as client:
        client.listening("POST orders/\n?#:id")
    assert asked[0] == b"/webhook/orders/%0A%3F%23:id"


@pytest.mark.parametrize("groups", [5, [5], [{"nodeIds": 5}], [{"nodeIds": [{}]}], {"a": 1}, "abc"])
def test_groups_of_an_odd_shape_are_a_fault(groups: Any) -> None:
    content = {"name": "N", "nodes": [{"id": "1", "name": "A"}], "connections": {}, "nodeGroups": groups}
    assert [fault.code for fault in structure_faults(content)] == ["odd_group"]
    assert repaired(content) == content


def test_a_list_ends_where_it_is_too_long_or_leads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.n8n.client._LIST_BYTES", 5000)
    numbers = itertools.count()
    page = {"data": [{"id": "1", "name": "x" * 1000}]}
    endless = client_of(lambda _: httpx.Response(200, json=page | {"nextCursor": str(next(numbers))}))
    with pytest.raises(errors.TooLarge):
        endless.all_of("/variables")
    assert next(numbers) < 10
    back = client_of(lambda _: httpx.Response(200, json={"data": [{"id": next(numbers)}], "nextCursor": "same"}))
    assert len(back.all_of("/variables")) == 2
    odd = client_of(lambda _: httpx.Response(200, json={"data": [], "nextCursor": [1]}))
    with pytest.raises(errors.NotAnApi):
        odd.all_of("/variables")


def test_scopes_are_bounded() -> None:
    with client_of(lambda _: httpx.Response(200, json={"data": {"scopes": ["x" * 1000, {}] * 5_000}})) as client:
        scopes = read_scopes(client)
    assert scopes is not None and len(scopes) <= 2000 and max(map(len, scopes)) <= 120


def test_a_whole_list_of_workflows_keeps_to_its_time() -> None:
    page = {"data": [{"id": "1", "name": "N", "nodes": []}], "nextCursor": None}
    with client_of(lambda _: httpx.Response(200, json=page)) as client, pytest.raises(errors.TimedOut):
        list(client.iter_workflows(within_seconds=-1))
