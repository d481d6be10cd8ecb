"""What a workflow stands on, on real n8n of the newest version: found, made where it is missing, and proven."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from core import crypto
from operations import engine
from operations.models import Operation
from promotions import services
from promotions.errors import SecretsLacking
from sandbox.live import NEWEST, LiveInstance, LiveN8n, install_folder, installed, make_api_key
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows.gateway import address_policy
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n import check_connection
from workflows.stubs import secret_entered
from workflows.surroundings import stored

pytestmark = [pytest.mark.live_n8n, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def instances(request: pytest.FixtureRequest) -> Iterator[list[LiveInstance]]:
    required = "1" in (os.environ.get("OPSCONSOLE_LIVE_N8N"), os.environ.get("OPSCONSOLE_REQUIRE_N8N"))
    if request.config.getoption("--n8n") != "live" and not required:
        pytest.skip("real n8n only with --n8n=live")
    if not installed(install_folder(NEWEST)):
        pytest.fail(f"a real n8n was asked for: run script/n8n install --version {NEWEST}")
    with LiveN8n(2, version=NEWEST) as found:
        yield found


def _environment(tenant: Any, instance: LiveInstance, slug: str, position: int) -> Environment:
    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant=tenant,
            name=slug.title(),
            slug=slug,
            kind="staging",
            position=position,
            base_url=instance.base_url,
            api_key_encrypted=crypto.encrypt(instance.api_key),
        )


def _drive(tenant: Any, operation: Operation) -> Operation:
    engine.drive(operation_id=operation.pk, tenant_id=tenant.pk)
    with tenant_scope(tenant.pk):
        done = Operation.objects.get(pk=operation.pk)
    assert done.status == "COMPLETED", done.error_details
    return done


def _capture(tenant: Any, *environments: Environment) -> None:
    for environment in environments:
        _drive(tenant, start_capture(tenant_id=tenant.pk, environment_id=environment.pk, requested_by=None))


def _node(name: str, kind: str, version: float, **more: Any) -> dict[str, Any]:
    base = {"id": str(uuid.uuid4()), "name": name, "type": kind, "typeVersion": version, "position": [0, 0]}
    return {**base, "parameters": {}, **more}


def _writer(table_id: str, credential_id: str) -> dict[str, Any]:
    hook = _node("Hook", "n8n-nodes-base.webhook", 2, parameters={"path": "w"}, webhookId=str(uuid.uuid4()))
    locator = {"__rl": True, "mode": "list", "value": table_id, "cachedResultName": "Alerts"}
    rows = _node("Rows", "n8n-nodes-base.dataTable", 1, parameters={"operation": "get", "dataTableId": locator})
    chosen = {
        "url": "https://api.invalid",
        "authentication": "genericCredentialType",
        "genericAuthType": "httpHeaderAuth",
    }
    held = {"httpHeaderAuth": {"id": credential_id, "name": "Main"}}
    ask = _node("Ask", "n8n-nodes-base.httpRequest", 4.2, parameters=chosen, credentials=held)
    links = {a: {"main": [[{"node": b, "type": "main", "index": 0}]]} for a, b in (("Hook", "Rows"), ("Rows", "Ask"))}
    return {"name": "Writer", "nodes": [hook, rows, ask], "connections": links, "settings": {"executionOrder": "v1"}}


def test_what_is_missing_is_made_and_pointed_to(live_cast: Any, instances: list[LiveInstance]) -> None:
    tenant, by = live_cast.tenant, live_cast.owner
    dev = _environment(tenant, instances[0], "dev", 0)
    staging = _environment(tenant, instances[1], "staging", 1)
    with instances[0].client() as n8n:
        columns = [{"name": "msg", "type": "string"}, {"name": "at", "type": "date"}]
        table = n8n.post("/data-tables", json={"name": "Alerts", "columns": columns}).json()["id"]
        assert n8n.post(f"/data-tables/{table}/rows", json={"data": [{"msg": "hi"}]}).is_success
        made = n8n.post("/credentials", json={"name": "Main", "type": "httpHeaderAuth", "data": {}}).json()["id"]
        assert n8n.post("/workflows", json=_writer(table, made)).is_success
    _capture(tenant, dev, staging)
    sides = {"tenant_id": tenant.pk, "source_id": dev.pk, "target_id": staging.pk}
    wanted = services.PromotionRequest(source_id=dev.pk, target_id=staging.pk, keys=["writer"])
    promotion = services.create(tenant_id=tenant.pk, request=wanted, by=by)
    assert (promotion.plan or {})["reached"] == {"source": True, "target": True}
    assert {(d["kind"], d["offer"]["do"]) for d in (promotion.plan or {})["dangling"]} == {
        ("credential", "create_credential"),
        ("data_table", "create_data_table"),
    }

    one = {"tenant_id": tenant.pk, "promotion_id": promotion.pk, "by": by}
    made_there = _drive(tenant, services.prepare(**one, rows=True)).result
    assert [row["name"] for row in made_there["worklist"]] == ["Main"]
    replanned = services.replan(**one)
    assert (replanned.plan or {})["dangling"] == []
    with pytest.raises(SecretsLacking):
        services.execute(**one)
    tested = _drive(tenant, services.start_credential_tests(**one)).result["credentials"]
    assert [row["state"] for row in tested] == ["untestable"]
    with tenant_scope(tenant.pk):
        assert secret_entered(environment=staging, credential_id=tested[0]["id"]) == 1
    _drive(tenant, services.execute(**one))
    done = services.get_promotion(tenant_id=tenant.pk, promotion_id=promotion.pk)
    assert done.status == "COMPLETED", done.execution_result

    with instances[1].client() as n8n:
        there = next(w for w in n8n.get("/workflows").json()["data"] if w["name"] == "Writer")
        tables = {t["name"]: t for t in n8n.get("/data-tables").json()["data"]}
        assert there["nodes"][1]["parameters"]["dataTableId"]["value"] == tables["Alerts"]["id"]
        columns = sorted(tables["Alerts"]["columns"], key=lambda column: column["index"])
        assert [(c["name"], c["type"]) for c in columns] == [("msg", "string"), ("at", "date")]
        assert [r["msg"] for r in n8n.get(f"/data-tables/{tables['Alerts']['id']}/rows").json()["data"]] == ["hi"]
        assert there["nodes"][2]["credentials"]["httpHeaderAuth"]["id"] == tested[0]["id"]
        # Renamed in n8n, then the workflow is saved: n8n rewrites the name, and nothing has drifted.
        assert n8n.patch(f"/credentials/{tested[0]['id']}", json={"name": "Renamed"}).is_success
        body = {key: there[key] for key in ("name", "nodes", "connections")}
        assert n8n.put(f"/workflows/{there['id']}", json={**body, "settings": {"executionOrder": "v1"}}).is_success
        again = n8n.get(f"/workflows/{there['id']}").json()
        assert again["nodes"][2]["credentials"]["httpHeaderAuth"]["name"] == "Renamed"
    _capture(tenant, staging)
    with tenant_scope(tenant.pk):
        place = WorkflowEnvMap.objects.get(environment=staging, env_name="Writer")
    assert not place.is_drifted
    compared = services.compare(**sides)
    assert {row.key: row.state for row in compared.rows}["writer"] == "equal"
    around = stored(tenant.pk, staging.pk)
    assert around.checks_structure and around.variables is None and "plan" in around.why["variables"]
    assert around.packages == ()


def test_the_connection_test_names_each_missing_scope(instances: list[LiveInstance]) -> None:
    with instances[0].owner_login() as editor:
        key = make_api_key(editor, ["workflow:read", "workflow:list", "workflow:create", "workflow:update"])
    report = check_connection(base_url=instances[0].base_url, api_key=key, policy=address_policy())
    assert report.ok
    lacking = {one.scope for one in report.missing_scopes}
    assert {"workflow:activate", "workflow:delete", "credential:list", "dataTable:list"} <= lacking
    assert not {"workflow:read", "workflow:create"} & lacking
    assert report.capabilities["data_tables"] and report.capabilities["test_credential"]
