"""A workflow is tested on a real n8n without being run: what it needs is right, then taken away; then it runs again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from operations.models import Operation
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from tests.live.estate import fails, stops
from tests.live.world import JSON, LiveWorld, Site, called, calls, flow, hook, pause, says
from workflows.executions import collecting
from workflows.models import WorkflowEnvMap
from workflows.stubs import placeholder

pytestmark = [pytest.mark.live_n8n, pytest.mark.timeout(300)]

#: Verdicts by what was tried.
Found = dict[tuple[str, str], str]


def answer_to(world: LiveWorld, name: str, **asked: Any) -> JSON:
    _, secret = create_token(user=world.cast.owner, name="trying")
    with tenant_scope(world.tenant_id):
        place = WorkflowEnvMap.objects.get(environment=world.production, env_name=name)
    path = f"/api/v1/workflows/{place.pk}/test?wait=0"
    headers = {"authorization": f"Bearer {secret}"}
    answer = Client().post(path, asked, content_type="application/json", headers=headers)
    assert answer.status_code in (200, 202), answer.content
    return dict(answer.json())


def verdicts(world: LiveWorld, name: str) -> Found:
    return {(row["check"], row["name"]): row["status"] for row in answer_to(world, name)["test"]["checks"]}


def uses(kind: str, chosen: JSON) -> JSON:
    node = "slack" if kind == "slackApi" else "httpRequest"
    return {
        "id": kind,
        "name": f"Uses {kind}",
        "type": f"n8n-nodes-base.{node}",
        "typeVersion": {"slack": 2.3, "httpRequest": 4.2}[node],
        "position": [200, 200],
        "parameters": {
            "url": "https://shop.invalid",
            "authentication": "genericCredentialType",
            "genericAuthType": kind,
        }
        if node == "httpRequest"
        else {"resource": "channel", "operation": "history", "channelId": {"__rl": True, "mode": "id", "value": "C01"}},
        "credentials": {kind: {"id": chosen["id"], "name": chosen["name"]}},
    }


def test_what_it_needs_is_tried_one_by_one(world: LiveWorld) -> None:
    site = world.there
    has_drafts = site.instance.version != "1.123.0"
    shop = credential(site, "Shop", "httpHeaderAuth")
    chat = credential(site, "Chat", "slackApi")
    inner = site.make(flow("Inner", called(), says("one")), published=has_drafts)
    bare = {key: value for key, value in hook("bare").items() if key != "webhookId"} | {"name": "Bare"}
    front = flow("Front", hook("front"), calls(inner))
    front["nodes"] += [
        uses("httpHeaderAuth", shop),
        uses("slackApi", chat),
        bare,
        hook("user/:id") | {"name": "Varies"},
    ]
    site.make(front, published=True)
    assert site.answers("front", (200, {"from": "one"}))
    runs = len(site.api("GET", "/executions").json()["data"])
    world.capture(world.production)

    found = verdicts(world, "Front")
    assert found.pop(("workflow", "Front")) == found.pop(("workflow it calls", "Inner")) == "passed"
    assert found.pop(("credential", "Shop")) == "not_possible", "n8n has no test of this type, or none at all"
    assert found.pop(("credential", "Chat")) == ("failed" if has_drafts else "not_possible")
    assert found.pop(("webhook", "POST front")) == "passed"
    assert sorted(found.values()) == ["not_possible", "passed"], "the one whose path varies, and the one without an id"
    assert len(site.api("GET", "/executions").json()["data"]) == runs, "nothing ran"

    site.api("DELETE", f"/credentials/{shop['id']}")
    assert verdicts(world, "Front")["credential", "Shop"] == ("failed" if has_drafts else "not_possible")
    if not has_drafts:
        site.remove(inner)
        assert verdicts(world, "Front")["workflow it calls", inner] == "failed"
        return


def credential(site: Site, label: str, kind: str) -> JSON:
    """One that opens nothing."""
    schema = site.api("GET", f"/credentials/schema/{kind}").json()
    answer = site.api("POST", "/credentials", json={"name": label, "type": kind, "data": placeholder(schema)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def failing(stop: JSON) -> JSON:
    """Where it is called to fail, it goes to the node Stop; what failed is taken up there again."""
    made = flow("Front", hook("front"), fails(), says("one"))
    ways = [{"node": "Stop", "type": "main", "index": 0}], [{"node": "Out", "type": "main", "index": 0}]
    return made | {"nodes": [*made["nodes"], stop], "connections": {**made["connections"], "Fail?": {"main": ways}}}


def test_it_runs_again_what_failed_where_that_is_asked(world: LiveWorld) -> None:
    site = world.there
    ident = site.make(failing(stops("once")), published=True)
    assert site.answers("front", (200, {"from": "one"}))
    world.capture(world.production)
    collecting.collect(world.production)
    well = answer_to(world, "Front", run=True)["test"]
    assert not well["ran"] and "if that has failed" in well["why_not_run"]

    assert site.call("front", fail=True)[0] == 500
    for _ in range(40):
        collecting.collect(world.production)
        before = answer_to(world, "Front")["test"]
        if before["last_executions"][0]["status"] == "error":
            break
        pause(0.25)
    assert not before["ran"] and before["status"] == "passed", before
    site.put(ident, failing(says("mended", "Stop")))
    again = answer_to(world, "Front", run=True)
    assert again["test"]["ran"]
    with tenant_scope(world.tenant_id):
        operation = Operation.objects.get(pk=again["operation"]["id"])
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    newest = site.api("GET", "/executions", params={"limit": 1}).json()["data"][0]
    assert (newest["status"], newest["retryOf"]) == ("success", str(before["last_executions"][0]["number"]))
