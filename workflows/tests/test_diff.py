"""The words for what differs."""

from __future__ import annotations

import copy

import orjson

from workflows.content import portable
from workflows.diff import MAX_CHANGES, WorkflowDiff, diff_workflows
from workflows.diff_values import MAX_TEXT
from workflows.masking import HIDDEN, mask


def node(name: str, kind: str = "httpRequest", **more) -> dict:
    return {
        "id": name,
        "name": name,
        "type": f"n8n-nodes-base.{kind}",
        "typeVersion": 1,
        "position": [0, 0],
        "parameters": {},
    } | more


def workflow(*nodes: dict, **more) -> dict:
    return portable({"name": "Orders", "nodes": list(nodes), "connections": {}, "settings": {}} | more)


def test_a_changed_parameter_is_told_in_one_sentence():
    diff = diff_workflows(
        workflow(node("Charge card", parameters={"url": "https://a.example"})),
        workflow(node("Charge card", parameters={"url": "https://b.example"})),
    )
    assert diff.sentences == ["Node “Charge card”: url changed from https://a.example to https://b.example."]
    assert diff.summary == {"nodes_changed": 1}
    assert diff.touches == ("http",)


def test_a_rename_is_no_removal_and_brings_its_connections_along():
    link = lambda name: {"Start": {"main": [[{"node": name, "type": "main", "index": 0}]]}}  # noqa: E731
    before = workflow(node("Start"), node("Old", parameters={"a": 1}), connections=link("Old"))
    renamed = node("New", parameters={"a": 1}, id="Old")
    diff = diff_workflows(before, workflow(node("Start"), renamed, connections=link("New")))
    assert diff.summary == {"nodes_renamed": 1}
    again = diff_workflows(before, workflow(node("Start"), renamed | {"id": "fresh"}, connections=link("New")))
    assert again.summary == {"nodes_renamed": 1}


def test_moved_noted_active_and_tags_are_told_without_counting():
    after = workflow(node("A", position=[5, 5], notes="look"), active=True, tags=[{"name": "x"}])
    diff = diff_workflows(workflow(node("A")), after)
    assert diff.is_empty
    assert diff.summary == {"nodes_moved": 1, "nodes_noted": 1, "active_changed": 1, "tags_changed": 1}
    assert not any(change.behaviour for change in diff.changes)


def test_switching_off_and_credentials_are_grave():
    before = workflow(node("A", "webhook"), node("B", credentials={"x": {"id": "1", "name": "dev"}}))
    after = workflow(node("A", "webhook", disabled=True), node("B", credentials={"x": {"id": "2", "name": "prod"}}))
    diff = diff_workflows(before, after)
    assert diff.severity == "high"
    assert {"credentials", "trigger", "webhook", "http"} == set(diff.touches)
    assert any("switched off" in sentence for sentence in diff.sentences)
    assert any("dev to prod" in sentence for sentence in diff.sentences)


def test_secrets_never_reach_the_words():
    secrets = ["sk-live-abcdefghijklmnop1234", "hunter2hunter2", "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "q9q9q9q9q9"]
    shapes = [
        lambda s: {"apiKey": s},
        lambda s: {"headers": {"parameters": [{"name": "Authorization", "value": s}]}},
        lambda s: {"jsonBody": '{"password": "' + s + '"}'},
        lambda s: {"url": f"https://x.example/?access_token={s}&a=1"},
        lambda s: {"header": f"Bearer {s}"},
        lambda s: {"nested": {"deep": [{"secret": s}]}},
        lambda s: {"url": f"https://user:{s}@x.example/"},
    ]
    for secret in secrets:
        for shape in shapes:
            for before, after in (({}, shape(secret)), (shape(secret), shape("other-value-1")), (shape(secret), {})):
                diff = diff_workflows(workflow(node("A", parameters=before)), workflow(node("A", parameters=after)))
                assert secret.encode() not in orjson.dumps(diff.to_json()), (secret, before, after)
                assert not diff.is_empty


def test_expressions_stay_readable():
    assert mask("={{ $json.token }}", secret=True) == "={{ $json.token }}"
    assert mask("plain", secret=True) == HIDDEN
    assert mask("Order 12 of 2024") == "Order 12 of 2024"


def test_giants_stay_bounded():
    before = workflow(*(node(f"n{i}") for i in range(5000)))
    after = copy.deepcopy(before)
    for each in after["nodes"]:
        each["parameters"] = {f"p{k}": "x" * 1000 for k in range(60)}
    diff = diff_workflows(before, after)
    assert diff.summary == {"nodes_changed": 5000}
    assert len(diff.changes) == MAX_CHANGES
    assert diff.left_out == 5000 - MAX_CHANGES
    assert all(len(part.after or "") <= MAX_TEXT for change in diff.changes for part in change.parts)
    assert len(orjson.dumps(diff.to_json())) < 8_000_000


def test_new_and_gone():
    one = workflow(node("A"), node("B", "webhook"))
    assert diff_workflows(None, one).status == "added"
    gone = diff_workflows(one, None)
    assert gone.status == "removed"
    assert gone.summary["nodes_removed"] == 2
    assert diff_workflows(None, None) == WorkflowDiff("unchanged", "")


def test_order_of_connections_counts_only_in_the_old_execution_order():
    def linked(order: str, *names: str) -> dict:
        links = [[{"node": n, "type": "main", "index": 0} for n in names]]
        nodes = (node("S"), node("A"), node("B"))
        return workflow(*nodes, connections={"S": {"main": links}}, settings={"executionOrder": order})

    assert diff_workflows(linked("v1", "A", "B"), linked("v1", "B", "A")).is_empty
    old = diff_workflows(linked("v0", "A", "B"), linked("v0", "B", "A"))
    assert not old.is_empty
    assert old.sentences[0].startswith("The order")
