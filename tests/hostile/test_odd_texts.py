"""A workflow with half an emoji and U+0000 in every text: its name, nodes, code, tags, settings, addresses.

n8n takes both. Whatever the console makes of it (rows, documents, sentences, events, pages, mail) goes on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from html import unescape
from itertools import pairwise
from typing import Any

import httpx
import pytest
from django.test import Client

from audit.models import AuditLog
from audit.services import record_event
from drift.models import DriftIncident
from drift.services import start_check
from operations.events import encode
from operations.models import Operation
from operations.services import start
from promotions.tests.conftest import empty_world, no_drift, sandbox_server  # noqa: F401 -- fixtures
from promotions.tests.world import World, calls, flow, node, uses
from snapshots.models import Snapshot
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import CanonicalWorkflow, Environment
from workflows.n8n.address import PinnedTransport

#: What stands in the look-alike for what its own storage does not take, and what the console gets and sends instead.
MARKS = {b"HALF": b"\\ud83d", b"NUL": b"\\u0000"}
ODD = "aHALFbNULc"
MOST_PAGES, OF_A_SHAPE = 200, 2


def spelt(data: bytes, *, backwards: bool = False) -> bytes:
    for mark, text in MARKS.items():
        data = data.replace(text, mark) if backwards else data.replace(mark, text)
    return data


@pytest.fixture(autouse=True)
def odd_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every n8n gives and takes the odd texts."""
    ask = PinnedTransport.handle_request

    def handle_request(self: PinnedTransport, request: httpx.Request) -> httpx.Response:
        sent = spelt(request.read(), backwards=True)
        headers = [(k, v) for k, v in request.headers.raw if k.lower() not in (b"content-length", b"accept-encoding")]
        asked = httpx.Request(request.method, request.url, headers=headers, content=sent, extensions=request.extensions)
        answer = ask(self, asked)
        body = spelt(answer.read())
        kept = [(k, v) for k, v in answer.headers.raw if k.lower() not in (b"content-length", b"content-encoding")]
        return httpx.Response(answer.status_code, headers=kept, stream=httpx.ByteStream(body))

    monkeypatch.setattr(PinnedTransport, "handle_request", handle_request)


def odd(name: str, called: str, *, text: str = "x") -> dict[str, Any]:
    """A workflow with the odd text wherever n8n takes one."""
    nodes = [
        node(f"Hook {ODD}", "n8n-nodes-base.webhook", parameters={"path": f"p-{ODD}"}, webhookId=f"w-{ODD}"),
        node(f"Set {ODD}", parameters={f"key {ODD}": f"{text} {ODD}"}, notes=f"{text} {ODD}"),
        node(f"Code {ODD}", "n8n-nodes-base.code", parameters={"jsCode": f"return '{text}'\n// {ODD}"}),
        node(f"Type {ODD}", f"n8n-nodes-base.{ODD}"),
        uses(f"Key {ODD}", f"Key {ODD}", f"id-{ODD}"),
        calls(f"Call {ODD}", called),
    ]
    links = {
        one["name"]: {"main": [[{"node": two["name"], "type": "main", "index": 0}]]} for one, two in pairwise(nodes)
    }
    return {
        **flow(f"{name} {ODD}"),
        "nodes": nodes,
        "connections": links,
        "settings": {"executionOrder": "v1", f"new{ODD}": ODD},
        "staticData": {ODD: text},
        "pinData": {f"Set {ODD}": [{"json": {ODD: text}}]},
    }


@pytest.fixture
def world(empty_world: World) -> World:  # noqa: F811
    """Both sides have it; staging has one that is new as well. Captured."""
    made = empty_world
    for side, text in ((made.source, "new"), (made.target, "old")):
        helper = side.seed([flow(f"Helper {ODD}")])[0]["id"]
        made.ids[text] = side.seed([odd("Both", helper, text=text)])[0]["id"]
    made.source.seed([odd("New", "nowhere" + ODD)])
    made.capture()
    return made


def check(world: World, environment: Environment) -> Operation:
    return start_check(tenant_id=world.tenant_id, environment_id=environment.pk, requested_by=None)


def walked(world: World, *starts: str) -> dict[str, int]:
    """Pages of the tenant of every kind that can be come to, with their status."""
    shapes: Counter[str] = Counter()
    client = Client(raise_request_exception=False)
    client.force_login(world.cast.owner)
    found: dict[str, int] = {}
    todo = [*starts, f"/t/{world.cast.tenant.slug}/"]
    while todo and len(found) < MOST_PAGES:
        path = todo.pop(0)
        shape = re.sub(r"[0-9a-f-]{36}|-abc[a-z0-9-]*", "*", path)
        shapes[shape] += 1
        if path in found or shapes[shape] > OF_A_SHAPE:
            continue
        answer = client.get(path)
        found[path] = answer.status_code
        if answer.status_code == 200 and not answer.streaming and "text/html" in answer["Content-Type"]:
            todo += map(unescape, re.findall(r'(?:href|hx-get)="(/t/[^"#]*)', answer.content.decode()))
    return found


def asked(world: World, *paths: str) -> dict[str, int]:
    _row, secret = create_token(user=world.cast.owner, tenant=world.cast.tenant, name="test")
    client = Client(raise_request_exception=False)
    return {path: client.get(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {secret}").status_code for path in paths}


def kept(world: World) -> dict[str, Any]:
    """The odd workflow of production as n8n has it: what a restore must give back."""
    raw = world.target.workflow(world.ids["old"])
    assert raw is not None
    return {name: raw[name] for name in ("name", "nodes", "connections", "settings")}


def test_everything_goes_on_with_odd_texts(world: World) -> None:
    original = kept(world)
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.filter(environment=world.production).latest("created_at")
        keys = list(CanonicalWorkflow.objects.values_list("key", flat=True))
    assert len(keys) == 3, "the same name is the same workflow on both sides"
    changed = odd("Both", "x" + ODD, text="drifted")
    world.target.edit(world.ids["old"], **{name: value for name, value in changed.items() if name != "active"})
    checked = check(world, world.production)
    assert world.drive(checked, tries=1) == "COMPLETED", world.failure(checked.pk)
    with tenant_scope(world.tenant_id):
        [incident] = DriftIncident.objects.all()
    assert "\ufffd" in json.dumps(incident.drift_snapshot, ensure_ascii=False)
    promotion = world.draft(*keys)

    pages = walked(world, f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/")
    assert len(pages) > 60
    assert {path: status for path, status in pages.items() if status >= 500} == {}
    answers = asked(
        world,
        f"snapshots/{snapshot.pk}?contents=true",
        f"environments/{world.production.pk}/workflows",
        f"environments/{world.production.pk}/workflows?stored=true",
        f"promotions/{promotion.pk}",
        f"incidents/{incident.pk}",
        "incidents",
        f"operations?tenant={world.cast.tenant.slug}",
        "audit-logs",
        "audit/events",
    )
    assert {path: status for path, status in answers.items() if status != 200} == {}

    place = {"tenant_id": world.tenant_id, "environment_id": world.production.pk}
    restore = start_restore(**place, snapshot_id=snapshot.pk, requested_by=None)
    assert world.drive(restore, tries=1) == "COMPLETED", world.failure(restore.pk)
    assert kept(world) == original


@pytest.mark.parametrize("text", ["half \ud83d of an emoji", "a\0b"])
def test_no_text_stops_a_row_a_document_or_an_event(cast: Any, text: str) -> None:
    """The last door, whoever forgot to make a text storable."""
    shown = text.replace("\ud83d", "\ufffd").replace("\0", "\ufffd")
    with tenant_scope(cast.tenant.pk):
        made = start(
            tenant_id=cast.tenant.pk,
            kind="workflow.capture",
            title=text,
            params={"text": [text], text: {"x": text}},
            requested_by=None,
        )
        made.refresh_from_db()
        assert made.title == shown and made.params["text"] == [shown] and made.params[shown] == {"x": shown}
        assert Operation.objects.filter(title=text).count() == 1
        record_event(
            action="test.texts", resource_type="test", name=text, details={text: text}, tenant_id=cast.tenant.pk
        )
        assert AuditLog.objects.get(action="test.texts").details == {shown: shown}
    assert shown.encode() in encode("1", "state", {"title": text}) or "\0" in text
