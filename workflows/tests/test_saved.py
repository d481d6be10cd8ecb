"""Saving without a change is no drift; a value that is lost is."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.content import content_hash
from workflows.saved import as_saved


def hashed(kind: str, parameters: dict[str, Any], version: float = 3) -> str:
    node = {"id": "1", "name": "Step", "type": kind, "typeVersion": version, "parameters": parameters}
    return content_hash({"name": "W", "nodes": [node], "connections": {}, "settings": {}})


HTTP, IF, SLACK = "n8n-nodes-base.httpRequest", "n8n-nodes-base.if", "n8n-nodes-base.slack"


def condition(**options: Any) -> dict[str, Any]:
    return {"conditions": {"combinator": "and", "conditions": [], "options": {"caseSensitive": True, **options}}}


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (SLACK, {"text": "a", "otherOptions": {}}, {"text": "a"}),
        (SLACK, {"text": "a"}, {"text": "a", "options": {}}),
        (HTTP, {"url": "u", "genericAuthType": "httpHeaderAuth"}, {"url": "u", "options": {}}),
        (
            HTTP,
            {"authentication": "genericCredentialType", "genericAuthType": "a", "nodeCredentialType": "b"},
            {"authentication": "genericCredentialType", "genericAuthType": "a"},
        ),
        (IF, condition(), condition(version=1)),
        (IF, {"rules": {"values": [condition()]}}, {"rules": {"values": [condition(version=1)]}}),
        (SLACK, {"b": 1, "a": 2.0}, {"a": 2, "b": 1}),
        (SLACK, {"channel": "", "text": "a"}, {"text": "a"}),
        (HTTP, {"sendBody": False, "method": "POST"}, {"method": "POST"}),
        ("@n8n/n8n-nodes-langchain.agent", {"hasOutputParser": False}, {}),
    ],
)
def test_what_the_editor_does_by_itself_is_no_difference(kind: str, before: Any, after: Any) -> None:
    assert hashed(kind, before) == hashed(kind, after)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (HTTP, {"method": "POST"}, {}),
        (SLACK, {"channel": "general"}, {}),
        (HTTP, {"sendBody": True}, {}),
        (HTTP, {"sendBody": 0}, {}),
        ("community.thing", {"channel": ""}, {}),
        (SLACK, {"options": {"mrkdwn": False}}, {"options": {}}),
        (SLACK, {"options": {"mrkdwn": False}}, {}),
        (HTTP, {"authentication": "genericCredentialType", "genericAuthType": "a"}, {"authentication": "x"}),
        (HTTP, {"authentication": "genericCredentialType", "genericAuthType": "a"}, {"genericAuthType": "a"}),
        (IF, condition(version=1), condition(version=2)),
        (IF, condition(caseSensitive=True), condition(caseSensitive=False)),
        (SLACK, {"inner": {"options": {}}}, {"inner": {}}),
        ("n8n-nodes-base.odoo", {"additionalFields": {}}, {}),
        ("community.thing", {"retries": {}}, {}),
    ],
)
def test_a_value_that_is_lost_or_another_is_a_difference(kind: str, before: Any, after: Any) -> None:
    assert hashed(kind, before) != hashed(kind, after)


def test_what_has_nothing_to_leave_out_is_not_copied() -> None:
    parameters = {"text": "a", "options": {"x": 1}}
    assert as_saved(SLACK, 2, parameters) is parameters
