"""References wherever they hide, what is in use of them, and how they are rewritten. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workflows.content import fingerprint
from workflows.credential_labels import credential_labels
from workflows.diff import diff_workflows
from workflows.n8n.scopes import missing_scopes
from workflows.normalization import id_span
from workflows.references import (
    CredentialRef,
    address_by_place,
    credentials_in_use,
    references,
    rewrite,
    webhook_address,
)
from workflows.scanning import package_of, scan
from workflows.structure import repaired, structure_faults


def node(name: str, kind: str = "n8n-nodes-base.set", **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "type": kind, "typeVersion": 1, "parameters": {}, **more}


def workflow(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "W", "nodes": list(nodes), "connections": {}, "settings": {}, **more}


def calling(value: Any, kind: str = "n8n-nodes-base.executeWorkflow", **parameters: Any) -> dict[str, Any]:
    return node("Call", kind, parameters={"workflowId": value, **parameters})


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("abc", "abc"),
        (12, "12"),
        ('={{ "abc" }}', "abc"),
        ("={{'abc'}}", "abc"),
        ("={{ 12 }}", "12"),
        ("=abc", "abc"),
        ("={{ $json.id }}", None),
        ("={{ 'a' + 'b' }}", None),
        ("", None),
        (None, None),
        (True, None),
    ],
)
def test_an_id_is_seen_in_a_literal_expression(value: Any, found: str | None) -> None:
    span = id_span(value)
    assert (span[0] if span else None) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("old", "new"),
        ('={{ "old" }}', '={{ "new" }}'),
        ("=old", "=new"),
        (
            {"__rl": True, "mode": "url", "value": "https://h/workflow/old"},
            {"__rl": True, "mode": "url", "value": "https://h/workflow/new"},
        ),
        ({"__rl": True, "mode": "list", "value": "old"}, {"__rl": True, "mode": "list", "value": "new"}),
    ],
)
@pytest.mark.parametrize(
    "kind", ["n8n-nodes-base.executeWorkflow", "@n8n/n8n-nodes-langchain.toolWorkflow", "n8n-nodes-base.n8n"]
)
def test_a_call_is_rewritten_in_its_own_form_and_compares_across_environments(
    before: Any, after: Any, kind: str
) -> None:
    here = workflow(calling(before, kind))
    moved = rewrite(here, workflow_ids={"old": "new"}, credentials={})
    assert moved.content["nodes"][0]["parameters"]["workflowId"] == after and not moved.dangling
    one, other = fingerprint(here), fingerprint(moved.content)
    assert one.body == other.body
    assert one.content_hash({"old": "key"}) == other.content_hash({"new": "key"})


def test_the_n8n_node_may_speak_of_another_instance_and_filters_executions() -> None:
    asks = node("Ask", "n8n-nodes-base.n8n", parameters={"resource": "execution", "filters": {"workflowId": "old"}})
    [found] = references(workflow(asks))
    assert (found.value, found.path, found.sure) == ("old", "nodes[0].parameters.filters.workflowId", False)
    moved = rewrite(workflow(asks), workflow_ids={"old": "new"}, credentials={}).content
    assert moved["nodes"][0]["parameters"]["filters"] == {"workflowId": "new"}
    assert not references(workflow(node("Ask", "n8n-nodes-base.n8n", parameters={"resource": "credential"})))


def test_a_carried_workflow_is_looked_into() -> None:
    inner = {"nodes": [calling("old"), node("Tell", credentials={"slackApi": {"id": "c1", "name": "S"}})]}
    for text in (json.dumps(inner), "=" + json.dumps(inner), inner):
        outer = workflow(
            node("Call", "n8n-nodes-base.executeWorkflow", parameters={"source": "parameter", "workflowJson": text})
        )
        assert [(r.kind, r.value) for r in references(outer)] == [("workflow", "old"), ("credential", "c1")]
        mark = fingerprint(outer)
        assert (mark.workflow_refs, mark.credential_ids) == (("old",), ("c1",))
        credentials = {("slackApi", "c1"): CredentialRef("c2", "T")}
        moved = rewrite(outer, workflow_ids={"old": "new"}, credentials=credentials).content
        assert fingerprint(moved).workflow_refs == ("new",) and fingerprint(moved).body == mark.body
        now = moved["nodes"][0]["parameters"]["workflowJson"]
        assert isinstance(now, dict) or now.startswith("=") == text.startswith("=")
    torn = node("Call", "n8n-nodes-base.executeWorkflow", parameters={"source": "parameter", "workflowJson": "{"})
    assert [f.kind for f in scan(workflow(torn), hosts={}, ids={})] == ["hidden_call"]


def test_a_data_table_goes_by_id_within_an_environment_and_by_kind_across() -> None:
    def table(ident: str, name: str = "Alerts") -> dict[str, Any]:
        locator = {"__rl": True, "mode": "list", "value": ident, "cachedResultName": name}
        return workflow(node("Rows", "n8n-nodes-base.dataTable", parameters={"dataTableId": locator}))

    one, other = fingerprint(table("t1")), fingerprint(table("t2"))
    assert one.content_hash() != other.content_hash()
    assert one.comparable_hash() == other.comparable_hash()
    assert one.content_hash() == fingerprint(table("t1", "Renamed")).content_hash()
    moved = rewrite(table("t1"), workflow_ids={}, credentials={("dataTable", "t1"): CredentialRef("t2", "Alerts")})
    assert fingerprint(moved.content).content_hash() == other.content_hash()


HTTP = "n8n-nodes-base.httpRequest"
PREDEFINED = {"authentication": "predefinedCredentialType"}
GENERIC = {"authentication": "genericCredentialType"}


@pytest.mark.parametrize(
    ("kind", "parameters", "held", "used"),
    [
        (HTTP, {**PREDEFINED, "nodeCredentialType": "slackApi"}, ["slackApi", "x"], ["slackApi"]),
        (HTTP, {**GENERIC, "genericAuthType": "httpBasicAuth"}, ["httpBasicAuth"], ["httpBasicAuth"]),
        (HTTP, {"authentication": "none"}, ["httpBasicAuth"], []),
        (HTTP, {"authentication": "={{ $json.a }}"}, ["httpBasicAuth"], None),
        ("n8n-nodes-base.webhook", {}, ["httpBasicAuth"], []),
        ("n8n-nodes-base.webhook", {"authentication": "basicAuth"}, ["httpBasicAuth", "jwtAuth"], ["httpBasicAuth"]),
        ("n8n-nodes-base.slack", {"authentication": "oAuth2"}, ["slackApi", "slackOAuth2Api"], ["slackOAuth2Api"]),
        ("n8n-nodes-base.slack", {"authentication": "accessToken"}, ["slackApi", "slackOAuth2Api"], ["slackApi"]),
        ("n8n-nodes-base.slack", {}, ["slackApi", "slackOAuth2Api"], None),
        ("n8n-nodes-base.slack", {"authentication": "oAuth2"}, ["slackApi"], None),
    ],
)  # fmt: skip
def test_only_a_chosen_authentication_counts(kind: str, parameters: Any, held: list[str], used: Any) -> None:
    one = node("N", kind, parameters=parameters, credentials={name: {"id": "i", "name": name} for name in held})
    found = credentials_in_use(one)
    assert (sorted(found) if found is not None else None) == used


def test_addresses_are_found_wherever_n8n_keeps_them() -> None:
    form = node("F", "n8n-nodes-base.formTrigger", parameters={"options": {"path": "signup"}}, webhookId="u1")
    assert webhook_address(form) == "FORM signup"
    dynamic = node("D", "n8n-nodes-base.webhook", parameters={"path": "user/:id"}, webhookId="u2")
    assert webhook_address(dynamic) == "GET u2/user/:id"
    assert webhook_address({**form, "disabled": True}) is None


def test_without_a_webhook_id_an_address_is_that_of_its_place() -> None:
    bare = node("My Hook!", "n8n-nodes-base.webhook", parameters={"path": "orders", "httpMethod": "POST"})
    assert address_by_place(bare, "w1") == "POST w1/my%2520hook%21/orders"
    assert address_by_place({**bare, "webhookId": "u1"}, "w1") is None
    assert address_by_place({**bare, "disabled": True}, "w1") is None


def test_the_scan_reads_every_text_and_no_more_than_it_must() -> None:
    content = workflow(
        node("A", parameters={"x": [{"y": "={{ $vars.KEY + $vars['OTHER'] }}"}]}),
        node("B", "n8n-nodes-x.thing", parameters={"u": "https://dev.example.com:5678/hook"}),
        node("C", parameters={"u": "https://notdev.example.com/"}, disabled=True),
    )
    found = scan(content, hosts={"dev.example.com:5678": "Dev", "dev.example.com": "Other"}, ids={})
    assert [(f.kind, f.value) for f in found] == [
        ("variable", "KEY"),
        ("variable", "OTHER"),
        ("package", "n8n-nodes-x"),
        ("host", "dev.example.com:5678"),
        ("host", "dev.example.com"),
    ]
    assert package_of("@scope/n8n-nodes-y.thing") == "@scope/n8n-nodes-y"
    assert package_of("n8n-nodes-base.set") == ""


def test_what_is_repaired_is_what_n8n_would_refuse() -> None:
    link = {"node": "Gone", "type": "main", "index": 0}
    content = workflow(
        node("A"),
        {**node("B"), "id": "A"},
        connections={"A": {"main": [[link, {**link, "node": "B"}], None]}, "Nobody": {"main": [[link]]}},
        nodeGroups=[{"id": "g", "name": "G", "nodeIds": ["A", "gone"]}],
    )
    codes = {fault.code for fault in structure_faults(content)}
    assert codes == {"dangling_connection", "duplicate_node_id", "dangling_group"}
    mended = repaired(content)
    assert structure_faults(mended) == [] and repaired(mended) == mended
    assert mended["connections"] == {"A": {"main": [[{**link, "node": "B"}], None]}}
    assert structure_faults(workflow(node("A"), node("A"))) != []
    assert [f.code for f in structure_faults({**workflow(node("A")), "name": "x" * 129})] == ["name_length"]


def test_credentials_of_one_name_are_told_apart_and_a_rename_is_no_change() -> None:
    def uses(ident: str, name: str) -> dict[str, Any]:
        return workflow(node("N", credentials={"slackApi": {"id": ident, "name": name}}))

    assert diff_workflows(uses("c1", "Old"), uses("c1", "New")).status == "unchanged"
    changed = diff_workflows(uses("c1", "Team"), uses("c2", "Team"))
    assert changed.status == "changed" and any("c2" in s for s in changed.sentences)
    assert diff_workflows(uses("c1", "Team"), uses("c2", "Team"), across=True).status == "unchanged"
    assert credential_labels(uses("c1", "A"), uses("c2", "B"))("slackApi", "A", "c1") == "A"


def test_missing_scopes_say_what_will_not_work() -> None:
    [lacking] = missing_scopes(["workflow:list"], ["workflow:list", "workflow:delete"])
    assert lacking.scope == "workflow:delete" and lacking.effect
    assert len(missing_scopes([])) > 10
