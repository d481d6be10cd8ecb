from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from sandbox.checking import Contract
from sandbox.generate import estate
from sandbox.schema import PROFILES, openapi
from sandbox.shapes import workflow_schema
from sandbox.testing import ROOT, SandboxInstance, SandboxServer

HOOK = {
    "id": "n1",
    "name": "Hook",
    "type": "n8n-nodes-base.webhook",
    "typeVersion": 2,
    "position": [0, 0],
    "parameters": {"path": "orders", "httpMethod": "POST"},
    "webhookId": "orders",
}
WORKFLOW = {"name": "Orders", "nodes": [HOOK], "connections": {}, "settings": {}}


def test_instances_know_nothing_of_each_other(server: SandboxServer, n8n: SandboxInstance) -> None:
    other = server.control.create()
    other.seed([WORKFLOW])
    with n8n.client() as client:
        assert client.get("/workflows").json()["data"] == []
        assert client.get(f"{other.api_url}/workflows").status_code == 401


def test_control_needs_its_token(server: SandboxServer) -> None:
    assert httpx.get(f"{server.url}/_control/instances").status_code == 401
    assert httpx.get(f"{server.url}/_control/health").json()["status"] == "ok"


def test_an_option_that_is_misspelt_is_refused(server: SandboxServer, n8n: SandboxInstance) -> None:
    with pytest.raises(RuntimeError, match=r"400 .*Unknown: version"):
        server.control.create(version="2.41.1")
    with pytest.raises(RuntimeError, match=r"400 .*Unknown: key"):
        n8n.change(key="x")


def test_a_draft_leaves_what_is_live_behind(server: SandboxServer) -> None:
    n8n = server.control.create(profile="2.0")
    made = n8n.seed([WORKFLOW], activate=True)[0]
    n8n.edit(made["id"], draft=True, nodes=[{**HOOK, "parameters": {"path": "drafted", "httpMethod": "POST"}}])
    with n8n.client() as client:
        seen = client.get(f"/workflows/{made['id']}").json()
        assert seen["activeVersionId"] == made["version_id"] != seen["versionId"]
        assert seen["activeVersion"]["nodes"][0]["parameters"]["path"] == "orders"
        assert client.post(f"{n8n.base_url}/webhook/orders").status_code == 200
        assert client.post(f"{n8n.base_url}/webhook/drafted").status_code == 404
        client.post(f"/workflows/{made['id']}/activate", json={"versionId": seen["versionId"]})
        assert client.post(f"{n8n.base_url}/webhook/drafted").status_code == 200


def test_in_2_0_an_edit_of_settings_keeps_the_version(server: SandboxServer) -> None:
    n8n = server.control.create(profile="2.0")
    made = n8n.seed([WORKFLOW])[0]
    with n8n.client() as client:
        after = client.put(
            f"/workflows/{made['id']}", json={**WORKFLOW, "settings": {"timezone": "Europe/Rome"}}
        ).json()
    assert after["versionId"] == made["version_id"]


def test_newer_instances_list_credentials(server: SandboxServer) -> None:
    n8n = server.control.create(profile="2.20")
    n8n.add_credentials({"id": "c1", "name": "Shop", "type": "slackApi"})
    with n8n.client() as client:
        assert [item["id"] for item in client.get("/credentials").json()["data"]] == ["c1"]
        assert "get" in yaml.safe_load(client.get("/openapi.yml").text)["paths"]["/credentials"]


def test_state_survives_a_restart(tmp_path: Path) -> None:
    with SandboxServer(data=tmp_path) as server:
        n8n = server.control.create("kept", profile="2.0")
        made = n8n.seed([{**WORKFLOW, "tags": ["a"], "active": True}])[0]
        n8n.add_credentials({"id": "c1", "name": "Shop", "type": "slackApi"})
        n8n.fault(kind="status", status=500, path="/tags")
        before = n8n.state()
    with SandboxServer(data=tmp_path) as server:
        again = server.control.instance("kept")
        assert again.api_key == n8n.api_key
        assert again.state() == before
        with again.client() as client:
            assert client.get("/tags").status_code == 500
            assert client.post(f"{again.base_url}/webhook/orders").status_code == 200
            assert client.put(f"/workflows/{made['id']}", json=WORKFLOW).status_code == 200


def test_the_same_seed_makes_the_same_estate() -> None:
    first, again = list(estate(5, size=4000, seed=7)), list(estate(5, size=4000, seed=7))
    assert first == again
    assert first != list(estate(5, size=4000, seed=8))


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_generated_obeys_the_contract_that_is_served(name: str) -> None:
    schemas = yaml.safe_load(openapi(PROFILES[name]))["components"]["schemas"]
    assert schemas["workflow"] == workflow_schema(PROFILES[name])
    for _, workflow in estate(20, size=6000, seed=1, pinned_ratio=0):
        assert Contract(schemas).first_error(workflow, schemas["workflow"]) is None


def test_many_workflows_are_paged_without_a_gap(n8n: SandboxInstance) -> None:
    made = n8n.generate(1000, size=1500, active_ratio=0.5)
    with n8n.client() as client:
        seen, cursor = [], None
        while True:
            page = client.get("/workflows", params={"limit": 250} | ({"cursor": cursor} if cursor else {})).json()
            seen += page["data"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
    assert [item["id"] for item in seen] == sorted(made)
    assert sum(item["active"] for item in seen) == 500


def test_the_sandbox_needs_nothing_of_the_console() -> None:
    code = (
        "import sys, sandbox.__main__;"
        "bad = {'django', 'httpx', 'opsconsole', 'workflows'} & {name.partition('.')[0] for name in sys.modules};"
        "sys.exit(str(bad) if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
