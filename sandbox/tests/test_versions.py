"""What the control API can bring about beside the public one, and which profile has which rule."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml

from sandbox.live import wanted_versions
from sandbox.profiles import PROFILES
from sandbox.rules import registers
from sandbox.schema import openapi
from sandbox.testing import SandboxInstance, SandboxServer


def hook(path: str) -> dict[str, Any]:
    return {
        "id": "n1",
        "name": "Hook",
        "type": "n8n-nodes-base.webhook",
        "typeVersion": 2,
        "position": [0, 0],
        "parameters": {"path": path, "httpMethod": "POST"},
        "webhookId": path,
    }


def body(path: str, **fields: Any) -> dict[str, Any]:
    return {"name": path, "nodes": [hook(path)], "connections": {}, "settings": {}, **fields}


@pytest.fixture
def newest(server: SandboxServer) -> SandboxInstance:
    return server.control.create(profile="2.41")


def rings(n8n: SandboxInstance, path: str) -> int:
    return httpx.post(f"{n8n.base_url}/webhook/{path}").status_code


def test_a_publication_takes_effect_after_a_number_of_calls(newest: SandboxInstance) -> None:
    newest.publish_after(2)
    with newest.client() as client:
        made = client.post("/workflows", json=body("late")).json()
        answer = client.post(f"/workflows/{made['id']}/publish").json()
        assert answer["active"] is True
        assert [rings(newest, "late") for _ in range(3)] == [404, 404, 200]
        client.post(f"/workflows/{made['id']}/unpublish")
        deletions = [client.delete(f"/workflows/{made['id']}").status_code for _ in range(3)]
    assert deletions == [409, 409, 200]


def test_a_publication_can_wait_until_it_is_let_go(newest: SandboxInstance) -> None:
    newest.publish_after(None)
    with newest.client() as client:
        made = client.post("/workflows", json=body("held")).json()
        client.post(f"/workflows/{made['id']}/publish")
        assert {rings(newest, "held") for _ in range(5)} == {404}
        newest.settle()
        assert rings(newest, "held") == 200


def test_a_trigger_can_fail_in_silence(newest: SandboxInstance) -> None:
    made = newest.seed([body("deaf")])[0]
    newest.make_deaf(made["id"])
    newest.publish_after(0)
    with newest.client() as client:
        assert client.post(f"/workflows/{made['id']}/publish").json()["active"] is True
        seen = client.get(f"/workflows/{made['id']}").json()
    assert (seen["active"], seen["triggerCount"]) == (True, 0)
    assert rings(newest, "deaf") == 404
    newest.make_deaf(made["id"], False)
    assert rings(newest, "deaf") == 200


def test_somebody_elses_version_has_its_author(newest: SandboxInstance) -> None:
    made = newest.seed([body("mine", active=True)])[0]
    newest.set_version(made["id"], author="Ann Other", name="Hotfix")
    newest.edit(made["id"], draft=True, author="Bob Else", nodes=[hook("theirs")])
    with newest.client() as client:
        seen = client.get(f"/workflows/{made['id']}").json()
        history = client.get(f"/workflows/{made['id']}/history").json()["data"]
    assert (seen["activeVersion"]["authors"], seen["activeVersion"]["name"]) == ("Ann Other", "Hotfix")
    assert [(item["authors"], item["name"]) for item in history] == [("Bob Else", None), ("Ann Other", "Hotfix")]
    assert seen["nodes"][0]["parameters"]["path"] == "theirs"
    assert rings(newest, "mine") == 200


def test_somebody_puts_away_and_fetches_back(newest: SandboxInstance) -> None:
    made = newest.seed([body("away", active=True)])[0]
    assert newest.archive(made["id"])["active"] is False
    assert rings(newest, "away") == 404
    newest.archive(made["id"], False)
    stored = newest.workflow(made["id"])
    assert stored is not None
    assert (stored["isArchived"], stored["active"]) == (False, False)


def test_a_key_can_be_limited_and_set_free(newest: SandboxInstance) -> None:
    newest.limit_key(["workflow:list"])
    with newest.client() as client:
        assert client.post("/workflows", json=body("no")).status_code == 403
        assert client.get("/workflows").status_code == 200
        newest.limit_key(None)
        assert client.post("/workflows", json=body("yes")).status_code == 200


def test_a_credential_is_tested_as_it_was_told(newest: SandboxInstance) -> None:
    outcome = {"status": "OK", "message": "Connection successful!"}
    newest.add_credentials({"id": "c1", "name": "Shop", "type": "slackApi", "test": outcome})  # type: ignore[dict-item]
    with newest.client() as client:
        assert client.post("/credentials/c1/test").json() == outcome
        assert "test" not in client.get("/credentials/c1").json()


def test_a_called_workflow_runs_from_2_0_on_only_when_it_is_published(server: SandboxServer) -> None:
    for profile, status in (("1.123", "success"), ("2.0", "error")):
        n8n = server.control.create(profile=profile)
        start = {**hook("x"), "name": "Start", "type": "n8n-nodes-base.executeWorkflowTrigger", "parameters": {}}
        sub = n8n.seed([{**body("sub"), "nodes": [start]}])[0]
        call = {**hook("x"), "id": "n2", "name": "Call", "type": "n8n-nodes-base.executeWorkflow"}
        call["parameters"] = {"workflowId": {"__rl": True, "mode": "id", "value": sub["id"]}}
        n8n.seed([body("caller", nodes=[hook("caller"), call], active=True)])
        assert rings(n8n, "caller") == 200
        assert n8n.state()["executions"][-1]["status"] == status


@pytest.mark.parametrize(
    ("rule", "since"),
    [
        (("/workflows/{id}/activate", "requestBody"), "2.0"),
        (("/credentials", "get"), "2.8"),
        (("/discover", "get"), "2.20"),
        (("/credentials/{id}/test", "post"), "2.20"),
        (("/data-tables", "get"), "2.20"),
        (("/workflows/{id}/publish", "post"), "2.35"),
        (("/workflows/{workflowId}", "put"), "2.38"),
    ],
)
def test_the_document_tells_what_came_when(rule: tuple[str, str], since: str) -> None:
    path, what = rule
    found = []
    for name, profile in PROFILES.items():
        entry = yaml.safe_load(openapi(profile))["paths"].get(path, {})
        if what in entry or any(what in operation for operation in entry.values()):
            found.append(name)
    names = list(PROFILES)
    later = names[names.index(since) :]
    assert found == (later if "{id}" not in path else [n for n in later if not PROFILES[n].strict])


@pytest.mark.parametrize(("profile", "status"), [("2.20", 200), ("2.24", 400), ("2.41", 400)])
def test_structure_is_checked_from_2_24_on(server: SandboxServer, profile: str, status: int) -> None:
    dangling = {"Hook": {"main": [[{"node": "Gone", "type": "main", "index": 0}]]}}
    with server.control.create(profile=profile).client() as client:
        assert client.post("/workflows", json=body("d", connections=dangling)).status_code == status


def test_every_profile_tells_all_it_takes(server: SandboxServer) -> None:
    """What a profile's own document allows, it stores and gives back."""
    for profile in PROFILES.values():
        n8n = server.control.create(profile=profile.name)
        optional = {"pinData": {"Hook": [{"json": {}}]}} if profile.archives else {}
        if profile.has_node_groups:
            optional["nodeGroups"] = []  # type: ignore[assignment]
        with n8n.client() as client:
            made = client.post("/workflows", json=body("all", **optional)).json()
            seen = client.get(f"/workflows/{made['id']}").json()
        assert {key: seen[key] for key in optional} == optional


def test_state_of_a_newest_instance_survives_a_restart(tmp_path: Any) -> None:
    with SandboxServer(data=tmp_path) as server:
        n8n = server.control.create("kept", profile="2.41")
        made = n8n.seed([body("kept", active=True)])[0]
        n8n.publish_after(None)
        with n8n.client() as client:
            client.post("/data-tables", json={"name": "t", "columns": [{"name": "a", "type": "string"}]})
            client.post(f"/workflows/{made['id']}/unpublish")
        before = n8n.state()
    with SandboxServer(data=tmp_path) as server:
        again = server.control.instance("kept")
        assert again.state() == before
        assert rings(again, "kept") == 200, "still waiting to be unpublished"
        again.settle()
        assert rings(again, "kept") == 404


@pytest.mark.parametrize(
    ("expression", "runs"), [("0 5 * * *", True), ("0 0 5 * * MON-FRI", True), ("not a cron", False), ("", False)]
)
def test_a_schedule_that_is_none_registers_nothing(expression: str, runs: bool) -> None:
    rule = {"interval": [{"field": "cronExpression", "expression": expression}]}
    assert registers({"parameters": {"rule": rule}}) is runs


def test_which_real_versions_a_run_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPSCONSOLE_LIVE_N8N", "OPSCONSOLE_REQUIRE_N8N"):
        monkeypatch.delenv(name, raising=False)
    assert wanted_versions() == []
    assert wanted_versions("live") == ["1.123.0", "2.41.1"]
    monkeypatch.setenv("OPSCONSOLE_LIVE_N8N", "all")
    assert wanted_versions() == ["1.123.0", "2.0.3", "2.41.1"]
    monkeypatch.setenv("OPSCONSOLE_LIVE_N8N", "2.0.3, 2.8.4")
    assert wanted_versions() == ["2.0.3", "2.8.4"]
