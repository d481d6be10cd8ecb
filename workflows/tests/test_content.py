"""What counts as the same workflow."""

from __future__ import annotations

import copy
import os
import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.content import (
    ContentError,
    content_hash,
    draft_of,
    dump,
    fingerprint,
    live_version,
    normalize,
    parse,
    portable,
    suggest_key,
    warnings,
)
from workflows.diff import diff_workflows, stored_diff
from workflows.graph import render_svg
from workflows.references import CredentialRef, references, rewrite

_DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "workflows" / "n8n"
REAL = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS", _DEFAULT))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real workflows is not there")


@cache
def real() -> list[dict]:
    return [parse(path.read_bytes()) for path in sorted(REAL.glob("*.json"))]


def sample() -> dict:
    return portable(
        {
            "id": "w1",
            "name": "Orders",
            "active": True,
            "tags": [{"id": "t", "name": "shop"}],
            "shared": [{"project": {"projectRelations": [{"user": {"email": "ann@example.com"}}]}}],
            "versionId": "v",
            "settings": {
                "executionOrder": "v1",
                "errorWorkflow": "err-1",
                "callerIds": "a1, a2",
                "callerPolicy": "workflowsFromAList",
            },
            "nodes": [
                {
                    "id": "1",
                    "name": "Hook",
                    "type": "n8n-nodes-base.webhook",
                    "typeVersion": 2,
                    "position": [0, 0],
                    "webhookId": "hook-id",
                    "parameters": {"path": "orders", "httpMethod": "POST"},
                },
                {
                    "id": "2",
                    "name": "Charge card",
                    "type": "n8n-nodes-base.httpRequest",
                    "typeVersion": 4.2,
                    "position": [220, 0],
                    "parameters": {"url": "https://pay.example.com/a"},
                    "credentials": {"httpHeaderAuth": {"id": "c1", "name": "Pay"}},
                },
                {
                    "id": "3",
                    "name": "Call",
                    "type": "n8n-nodes-base.executeWorkflow",
                    "typeVersion": 1.2,
                    "position": [440, 0],
                    "parameters": {
                        "workflowId": {"__rl": True, "mode": "list", "value": "sub-1", "cachedResultName": "Sub"}
                    },
                },
                {
                    "id": "4",
                    "name": "Note",
                    "type": "n8n-nodes-base.stickyNote",
                    "typeVersion": 1,
                    "position": [0, -200],
                    "parameters": {"content": "hello"},
                },
            ],
            "connections": {
                "Hook": {"main": [[{"node": "Charge card", "type": "main", "index": 0}]]},
                "Charge card": {"main": [[{"node": "Call", "type": "main", "index": 0}]]},
            },
        }
    )


def test_peoples_addresses_and_ids_of_the_instance_stay_behind():
    assert b"example.com" not in dump({**sample(), "nodes": []})
    assert {"id", "shared", "versionId"}.isdisjoint(sample())


def test_what_n8n_adds_or_moves_is_no_change():
    before, after = sample(), copy.deepcopy(sample())
    after["settings"] |= {
        "availableInMCP": False,
        "saveManualExecutions": True,
        "timezone": "DEFAULT",
        "executionTimeout": -1,
        "somethingNew": 7,
    }
    for node in after["nodes"]:
        node |= {"id": "other-" + node["id"], "position": [9, 9], "notes": "n", "retryOnFail": False, "newField": 1}
    after["nodes"][1]["credentials"]["httpHeaderAuth"]["name"] = "Renamed in n8n"
    after["nodes"][0]["webhookId"] = "another"
    after["nodes"][3]["parameters"]["content"] = "bye"
    after["nodes"].reverse()
    after["connections"]["Call"] = {"main": [[], []]}
    after |= {"active": False, "tags": [], "staticData": {"a": 1}, "pinData": {"Hook": []}}
    assert content_hash(before) == content_hash(after)
    assert diff_workflows(before, after).is_empty


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.update(name="Other"),
        lambda w: w["nodes"][1]["parameters"].update(url="https://pay.example.com/b"),
        lambda w: w["nodes"][1].update(typeVersion=4.1),
        lambda w: w["nodes"][1].update(disabled=True),
        lambda w: w["nodes"][1].update(onError="continueRegularOutput"),
        lambda w: w["nodes"][1]["credentials"]["httpHeaderAuth"].update(id="another"),
        lambda w: w["nodes"][2]["parameters"]["workflowId"].update(value="sub-2"),
        lambda w: w["settings"].update(executionTimeout=5),
        lambda w: w["settings"].pop("executionOrder"),
        lambda w: w["settings"].update(errorWorkflow="err-2"),
        lambda w: w["connections"].pop("Hook"),
        lambda w: w["nodes"].pop(2),
        lambda w: w["nodes"][0]["parameters"].update(flag=True),
    ],
)
def test_a_change_of_behaviour_changes_the_hash_and_is_told(change):
    after = copy.deepcopy(sample())
    change(after)
    diff = diff_workflows(sample(), after)
    assert content_hash(sample()) != content_hash(after)
    assert not diff.is_empty
    assert diff.sentences


def test_references_are_equal_by_key_and_not_by_id():
    here, there = sample(), copy.deepcopy(sample())
    there["nodes"][2]["parameters"]["workflowId"]["value"] = "99"
    there["settings"] |= {"errorWorkflow": "98", "callerIds": "97,96"}
    keys_here = {"sub-1": "sub", "err-1": "err", "a1": "a", "a2": "b"}
    keys_there = {"99": "sub", "98": "err", "97": "a", "96": "b"}
    assert fingerprint(here).workflow_refs == ("sub-1", "err-1", "a1", "a2")
    assert content_hash(here, keys_here) == content_hash(there, keys_there)
    assert content_hash(here) != content_hash(there)
    assert diff_workflows(here, there, before_keys=keys_here, after_keys=keys_there).is_empty
    assert fingerprint(here).missing({"sub-1": "sub"}) == ["err-1", "a1", "a2"]
    assert normalize(here)["settings"]["errorWorkflow"] == {"$workflow": 1}


def test_a_missing_workflow_is_not_taken_for_one_whose_key_looks_alike():
    one, other = sample(), copy.deepcopy(sample())
    other["nodes"][2]["parameters"]["workflowId"]["value"] = "x"
    assert content_hash(one, {"sub-1": "missing:x"}) != content_hash(other)


def test_credentials_by_type_make_environments_comparable():
    other = copy.deepcopy(sample())
    other["nodes"][1]["credentials"]["httpHeaderAuth"] = {"id": "c9", "name": "Pay (prod)"}
    assert fingerprint(sample()).content_hash() != fingerprint(other).content_hash()
    assert fingerprint(sample()).comparable_hash() == fingerprint(other).comparable_hash()


def test_an_expression_is_no_id():
    content = sample()
    content["nodes"][2]["parameters"]["workflowId"]["value"] = "={{ $json.id }}"
    assert "={{ $json.id }}" not in fingerprint(content).workflow_refs


def test_rewriting_reports_what_it_could_not_place_and_leaves_its_input():
    content = sample()
    untouched = copy.deepcopy(content)
    moved = rewrite(
        content,
        workflow_ids={"sub-1": "77", "a1": "78"},
        credentials={("httpHeaderAuth", "Pay"): CredentialRef("k", "Pay prod")},
    )
    assert content == untouched
    found = {(r.kind, r.value) for r in references(moved.content)}
    assert {("workflow", "77"), ("workflow", "78"), ("credential", "k"), ("webhook", "POST orders")} <= found
    assert [(r.path, r.value) for r in moved.dangling] == [
        ("settings.errorWorkflow", "err-1"),
        ("settings.callerIds", "a2"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "x"}',
        b'{"nodes": [1]}',
        b'{"nodes": [], "settings": NaN}',
        b'{"nodes": [], "a": Infinity}',
        b'{"nodes": [], "a": 1e999}',
        b'{"nodes": [], "connections": [1]}',
        b'{"nodes": [{"parameters": []}], "name": 3}',
        b"\xff\xfe",
        b'{"nodes": [], "x": "\\ud800", "y": NaN}',
        b'{"nodes": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_workflow_is_refused_in_words(data):
    with pytest.raises(ContentError) as caught:
        parse(data)
    assert caught.value.message
    assert caught.value.recovery


def test_what_is_nested_too_deeply_to_be_compared_is_named():
    parameters = {"share": 1.0}
    for _ in range(800):
        parameters = {"in": parameters}
    deep = {"name": "Deep", "nodes": [{"name": "N", "type": "t", "parameters": parameters}]}
    with pytest.raises(ContentError, match="deeply"):
        content_hash(portable(deep))


def test_too_large_is_refused():
    with pytest.raises(ContentError, match="are allowed"):
        parse(dump(sample()), limit=100)


@pytest.mark.parametrize("name", ["", "a/b", "line\nbreak", "🧨", "\ud800 half", "x" * 10_000])
def test_odd_names_survive_the_way_through_git(name):
    content = copy.deepcopy(sample())
    content["name"] = content["nodes"][0]["name"] = name
    again = parse(dump(content))
    assert again == content
    assert dump(again) == dump(content)
    assert len(content_hash(content)) == 64
    assert not diff_workflows(sample(), content).is_empty
    assert render_svg(content, title=name).startswith("<svg")


def test_numbers_count_as_javascript_writes_them():
    one, other = sample(), copy.deepcopy(sample())
    one["nodes"][1]["parameters"]["n"], other["nodes"][1]["parameters"]["n"] = 1.0, 1
    assert content_hash(one) == content_hash(other)
    assert diff_workflows(one, other).is_empty


def test_odd_things_are_kept_and_told():
    content = copy.deepcopy(sample())
    content["nodes"].append(dict(content["nodes"][0]))
    content["connections"]["Nobody"] = {"main": [[{"node": "Nowhere", "type": "main", "index": 0}]]}
    codes = [w["code"] for w in warnings(content)]
    assert codes.count("dangling_connection") == 2
    assert "duplicate_node" in codes
    assert parse(dump(content)) == content


def test_the_content_is_what_runs_and_the_draft_stands_beside_it():
    raw = {
        "name": "a",
        "nodes": [],
        "connections": {},
        "active": True,
        "versionId": "2",
        "activeVersionId": "1",
        "activeVersion": {
            "nodes": [{"name": "n", "type": "t"}],
            "connections": {},
            "nodeGroups": [{"id": "g"}],
            "authors": "Olive Owner",
        },
    }
    assert [node["name"] for node in portable(raw)["nodes"]] == ["n"]
    assert portable(raw)["nodeGroups"] == [{"id": "g"}]
    assert draft_of(raw)["nodes"] == []
    assert live_version(raw).authors == "Olive Owner"
    same = {**raw, "activeVersionId": "2"}
    assert draft_of(same) is None
    assert portable(same)["nodes"] == []
    unpublished = {**raw, "active": False, "activeVersionId": None, "activeVersion": None}
    assert draft_of(unpublished) is None
    assert live_version(unpublished) is None


def test_a_draft_goes_through_git_with_the_facts_beside_it():
    content = portable({"name": "a", "nodes": [], "isArchived": True, "tags": [{"name": "t"}], "settings": {"x": 1}})
    assert parse(dump(content)) == content
    assert content["archived"] is True


@given(st.text(max_size=300), st.sets(st.text(alphabet="abc-0123456789", max_size=6)))
def test_keys_are_safe_stable_and_free(name, taken):
    key = suggest_key(name, taken)
    assert key == suggest_key(name, taken)
    assert key not in taken
    assert 0 < len(key) <= 80
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in key)
    assert suggest_key(name, {key}) != key


@needs_real
def test_every_real_workflow_goes_through_git_unchanged():
    for content in real():
        data = dump(content)
        assert parse(data) == content
        assert dump(parse(data)) == data
        for reference in references(content):
            assert reference.value or reference.name or reference.kind == "credential"


@needs_real
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 399), st.integers())
def test_order_places_and_ids_never_count(number, seed):
    rng = random.Random(seed)
    content = real()[number % len(real())]
    if len({n.get("name") for n in content["nodes"]}) < len(content["nodes"]):
        return

    def shuffled(value):
        if isinstance(value, dict):
            items = list(value.items())
            rng.shuffle(items)
            return {k: shuffled(v) for k, v in items}
        return [shuffled(v) for v in value] if isinstance(value, list) else value

    other = shuffled(content)
    rng.shuffle(other["nodes"])
    for node in other["nodes"]:
        node |= {"id": str(rng.random()), "position": [rng.randint(-9999, 9999), 0]}
        for value in (node.get("credentials") or {}).values():
            if isinstance(value, dict) and value.get("id"):
                value["name"] = str(rng.random())  # n8n renames what a node remembers of a credential
    assert content_hash(other) == content_hash(content)
    assert diff_workflows(content, other).is_empty


@needs_real
@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 399),
    st.integers(0, 10_000),
    st.sampled_from(["parameter", "rename", "drop", "type", "copy", "edge"]),
)
def test_the_diff_is_empty_exactly_where_the_hashes_are_equal(number, pick, what):
    content = real()[number % len(real())]
    other = copy.deepcopy(content)
    node = other["nodes"][pick % len(other["nodes"])]
    if what == "parameter":
        node["parameters"]["added"] = pick
    elif what == "rename":
        node["name"] = f"renamed {pick}"
    elif what == "drop":
        other["nodes"].remove(node)
    elif what == "type":
        node["type"] = "n8n-nodes-base.noOp"
    elif what == "copy":
        other["nodes"].append({**node, "name": "a copy", "id": "copy"})
    elif what == "edge":
        other["connections"].setdefault(node["name"], {})["main"] = [[{"node": node["name"], "index": pick}]]
    diff = diff_workflows(content, other)
    assert diff.is_empty == (content_hash(content) == content_hash(other))
    assert stored_diff(diff.to_json()) == diff
