"""Contracts that a hostile instance publishes: each is refused by name, in little time."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import httpx
import orjson
import pytest

from sandbox.schema import PROFILES, openapi
from workflows.n8n import N8nClient, errors
from workflows.n8n.spec import Capabilities

POST = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/workflow"}}}}}


def contract(workflow: Any, **more: Any) -> bytes:
    """A contract (JSON is YAML) whose workflow has this schema."""
    paths = {"/workflows": {"post": POST}, "/workflows/{id}": {"put": POST}}
    return orjson.dumps({"paths": paths, "components": {"schemas": {"workflow": workflow}}} | more)


@pytest.mark.parametrize(
    "opening", ["paths: " + "[" * 30_000, "paths: " + "{a: " * 30_000, "- " * 30_000, "? " * 30_000]
)
def test_depth_is_refused_and_the_process_lives(opening: str) -> None:
    """In a process of its own: on the parser that builds by itself it ends with SIGSEGV."""
    program = (
        "import sys\n"
        "from workflows.n8n import errors\n"
        "from workflows.n8n.spec import Capabilities\n"
        "try:\n    Capabilities.from_yaml(sys.stdin.buffer.read())\n"
        "except errors.NotAnApi:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=opening.encode(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"refused\n"), done.stderr


@pytest.mark.parametrize(
    "data",
    [
        b"a: [" + b"a," * 300_000 + b"]",
        b"#" * 5_000_000,
        b"a: &a [1]\nb: *a",
        b"a: !!python/object:os.system {}",
        b"\x00",
        b"\xff\xfe\xff",
        b"[a]: 1",
    ],
    ids=["many", "large", "alias", "tag", "nul", "bytes", "odd key"],
)
def test_more_than_a_contract_needs_is_refused(data: bytes) -> None:
    with pytest.raises(errors.NotAnApi):
        Capabilities.from_yaml(data)


def test_references_that_multiply_are_followed_once() -> None:
    levels: dict[str, Any] = {
        f"l{level}": {"allOf": [{"$ref": f"#/components/schemas/l{level + 1}"}] * 5} for level in range(12)
    }
    levels |= {"l12": {"properties": {"name": {}, "nodes": {}}}, "workflow": {"$ref": "#/components/schemas/l0"}}
    started = time.process_time()
    found = Capabilities.from_yaml(contract({}, components={"schemas": levels}))
    assert time.process_time() - started < 0.5
    assert found.create_keys == {"name", "nodes"}


def test_a_schema_that_holds_itself_ends() -> None:
    me = {"$ref": "#/components/schemas/workflow"}
    found = Capabilities.from_yaml(contract({"allOf": [me, me], "properties": {"name": me}}))
    assert found.create_keys == {"name"}


ODD = [
    contract({"properties": [1]}),
    contract({"allOf": 3}),
    contract({"properties": {"settings": {"properties": 7}}}),
    contract({}, info="hi"),
    orjson.dumps({"paths": {"/workflows": {"post": {"requestBody": {"content": [1]}}}}}),
    orjson.dumps({"paths": {"/workflows/{id}": {"put": {"parameters": 5}}}}),
    b"[]",
    b"",
    b"paths: 1",
]


@pytest.mark.parametrize("data", ODD)
def test_an_odd_contract_is_none(data: bytes) -> None:
    with pytest.raises(errors.NotAnApi):
        Capabilities.from_yaml(data)
    answer = httpx.MockTransport(lambda request: httpx.Response(200, content=data))
    with N8nClient(base_url="http://n8n.test", api_key="k", transport=answer) as client:
        assert not client.spec().known


def test_what_is_kept_of_a_contract_can_be_stored_and_used() -> None:
    settings = {"properties": {"timezone": {"enum": 5, "description": "long"}, "executionOrder": {"enum": ["v1"]}}}
    data = contract({"properties": {"settings": settings}}, info={"version": "1\x00\ud7ff" + "9" * 500})
    found = Capabilities.from_yaml(data)
    assert "\x00" not in found.api_version and len(found.api_version) == 200
    assert found.settings == {"timezone": {}, "executionOrder": {"enum": ["v1"]}}


def test_words_of_a_contract_are_those_of_json() -> None:
    """``off`` is a word in an enum of 2.41's, and 3.10 a number nobody compares as one."""
    data = b"paths: {/workflows: {post: {requestBody: {content: {application/json: {schema: {properties: {settings: "
    data += b"{properties: {timezone: {enum: [off, 'true', 7], default: null}}}, id: {readOnly: true}}}}}}}}}"
    found = Capabilities.from_yaml(data)
    assert found.settings["timezone"] == {"default": None, "enum": ["off", "true", 7]}
    assert "id" not in found.create_keys


@pytest.mark.parametrize("profile", PROFILES)
def test_contracts_of_real_versions_are_read(profile: str) -> None:
    assert Capabilities.from_yaml(openapi(PROFILES[profile])).known
