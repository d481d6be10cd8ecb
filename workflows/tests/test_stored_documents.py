"""Documents on rows are read as this console and older ones wrote them."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from workflows.content import fingerprint
from workflows.diff import diff_workflows, stored_diff
from workflows.hosts import hosts_of
from workflows.stored_fingerprints import loaded_draft_fingerprint, loaded_fingerprint, stored_fingerprint


def workflow(name: str, **node: object) -> dict[str, object]:
    node = {"name": "Call", "type": "n8n-nodes-base.executeWorkflow", "parameters": {"workflowId": "w1"}, **node}
    return {"name": name, "nodes": [node], "connections": {}, "settings": {}}


def test_a_diff_comes_back_as_it_was_stored() -> None:
    diff = diff_workflows(workflow("A"), workflow("B", disabled=True))
    document = orjson.loads(orjson.dumps(diff.to_json()))
    assert document["v"] == 1 and document["summary"] == {"name_changed": 1, "nodes_disabled": 1}
    assert stored_diff(document) == diff


def test_a_diff_of_an_older_console_has_no_version_and_its_sentences_twice() -> None:
    diff = diff_workflows(workflow("A"), workflow("B", disabled=True))
    document = {**orjson.loads(orjson.dumps(diff.to_json())), "sentences": diff.sentences}
    del document["v"]
    assert stored_diff(document) == diff


def test_a_fingerprint_comes_back_with_its_draft() -> None:
    credentials = {"slackApi": {"id": "c1", "name": "Team"}}
    running, draft = fingerprint(workflow("A", credentials=credentials)), fingerprint(workflow("A", disabled=True))
    document = orjson.loads(orjson.dumps(stored_fingerprint(running, ["b", "a", "b"], draft)))
    assert document["types"] == ["a", "b"] and "types" not in document["draft"]
    assert loaded_fingerprint(document) == running
    assert loaded_draft_fingerprint(document) == draft
    assert loaded_draft_fingerprint(stored_fingerprint(running)) is None


def test_the_hosts_of_addresses_are_kept_and_nothing_else() -> None:
    node = {
        "parameters": {
            "url": "=https://api.Shop.example:8443/v2/{{ $json.id }}",
            "body": {"see": ["see http://b.example."]},
        }
    }
    other = {
        "parameters": {
            "url": "https://{{ $json.host }}/",
            "code": "fetch('https://user:pw@c.example/x')",
            "v": "d.example",
        }
    }
    hosts = hosts_of({"nodes": [node]}, {"nodes": [other, {"url": "https://eu.{{ $json.host }}/"}]}, None)
    assert hosts == ("api.shop.example", "b.example", "c.example")
    document = stored_fingerprint(fingerprint(workflow("A")), hosts=hosts)
    assert document["hosts"] == list(hosts) and loaded_fingerprint(document) == fingerprint(workflow("A"))
    assert "hosts" not in stored_fingerprint(fingerprint(workflow("A"))), "not known is not none"


def test_a_fingerprint_of_an_older_console_has_names_of_credentials_only() -> None:
    found = loaded_fingerprint({"v": 1, "body": "b", "refs": ["w1"], "creds": ["Team", "Shop"]})
    assert found is not None
    assert (found.credential_names, found.credential_ids, found.credential_types) == (("Team", "Shop"), ("", ""), ())
    assert loaded_fingerprint(None) is None
    with pytest.raises(msgspec.ValidationError):
        loaded_fingerprint({"v": 1})
