"""A data folder of 1.123.0 with real workflows, rehearsed and then upgraded to 2.41.1 and by way of 2.0.3.

What the rehearsal said of each workflow is what the upgrade did, every change is reported once, and all of them are
approved as one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import crypto
from drift import services, upgrade_selectors
from drift.models import DriftIncident, N8nUpgrade
from operations import engine
from operations.models import Operation
from sandbox.live import LiveN8n
from sandbox.live.installs import install_folder, installed
from snapshots.models import Rehearsal
from snapshots.rehearsal.documents import report_from
from snapshots.rehearsal.services import start_rehearsal
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows.models import Environment, WorkflowEnvMap

pytestmark = [pytest.mark.live_n8n, pytest.mark.django_db(transaction=True)]

REAL = Path(__file__).resolve().parents[4] / "shared" / "workflows" / "n8n"
OLD, MIDDLE, NEW = "1.123.0", "2.0.3", "2.41.1"
SETTINGS = ("executionOrder", "timezone", "callerPolicy")
JSON = dict[str, Any]


def node(name: str, kind: str, version: float = 1, **parameters: Any) -> JSON:
    made: JSON = {"id": name, "name": name, "type": f"n8n-nodes-base.{kind}", "typeVersion": version}
    if kind == "webhook":
        made["webhookId"] = parameters["path"]
    return {**made, "position": [0, 0], "parameters": parameters}


def of(name: str, *nodes: JSON, **settings: Any) -> JSON:
    first, *rest = [n["name"] for n in nodes]
    links = {first: {"main": [[{"node": rest[-1], "type": "main", "index": 0}]]}} if rest else {}
    return {"name": name, "nodes": list(nodes), "connections": links, "settings": settings}


def called(**parameters: Any) -> JSON:
    return node("Called", "executeWorkflowTrigger", 1.1, **parameters)


def calls(workflow_id: str) -> JSON:
    locator = {"__rl": True, "mode": "id", "value": workflow_id}
    return node("Call", "executeWorkflow", 1.2, workflowId=locator, options={})


@pytest.fixture(params=[(NEW,), (MIDDLE, NEW)], ids=["directly", "by way of 2.0.3"])
def route(request: pytest.FixtureRequest) -> tuple[str, ...]:
    lacking = [version for version in (OLD, *request.param) if not installed(install_folder(version))]
    if lacking:
        pytest.skip(f"run script/n8n install --version {lacking[0]}")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def n8n() -> Iterator[Any]:
    with LiveN8n(1, version=OLD) as (instance,):
        yield instance


def fill(n8n: Any, count: int) -> dict[str, str]:
    """Chains of sub-workflows, and ``count`` real workflows; name to id."""
    noop, passed = node("Step", "noOp"), {"inputSource": "passthrough"}
    schedule = node("Every", "scheduleTrigger", 1.2, rule={"interval": [{"field": "hours"}]})
    ids: dict[str, str] = {}
    with n8n.client() as api:

        def make(body: JSON) -> str:
            answer = api.post("/workflows", json=body)
            answer.raise_for_status()
            ids[body["name"]] = answer.json()["id"]
            return ids[body["name"]]

        last = make(of("Last", called(**passed), noop))
        make(of("Scheduled", called(**passed), schedule, noop))
        make(of("By hand", called(**passed), node("Manual", "manualTrigger"), noop))
        make(of("Hooked", called(**passed), node("Hook", "webhook", 2, path="hooked"), noop))
        make(of("No inputs", called(workflowInputs={"values": []}), noop))
        handler = make(of("Handler", node("Failed", "errorTrigger"), noop))
        middle = make(of("Middle", called(**passed), calls(last)))
        first = of("First", node("Hook", "webhook", 2, path="first"), calls(middle), errorWorkflow=handler)
        api.post(f"/workflows/{make(first)}/activate").raise_for_status()
        files = sorted(REAL.glob("*.json"))
        for path in random.Random(3).sample(files, min(count, len(files))):
            raw = json.loads(path.read_text())
            settings = {k: v for k, v in (raw.get("settings") or {}).items() if k in SETTINGS}
            body = {"name": path.stem, "nodes": raw["nodes"], "connections": raw["connections"], "settings": settings}
            answer = api.post("/workflows", json=body)
            if answer.is_success:
                ids[path.stem] = answer.json()["id"]
    return ids


def drive(operation: Operation) -> Operation:
    engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(operation.tenant_id):
        done = Operation.objects.get(pk=operation.pk)
    assert done.status == "COMPLETED", json.dumps(done.error_details, indent=1)
    return done


def test_what_was_rehearsed_is_what_the_upgrade_does(
    n8n: Any, route: tuple[str, ...], live_cast: Any, settings: Any, tmp_path: Path
) -> None:
    settings.REHEARSALS_ROOT = tmp_path / "rehearsals"
    tenant = live_cast.tenant
    ids = fill(n8n, 24)
    with tenant_scope(tenant.pk):
        environment = Environment.objects.create(
            tenant=tenant,
            name="Production",
            slug="production",
            kind="production",
            base_url=n8n.base_url,
            api_key_encrypted=crypto.encrypt(n8n.api_key),
        )
    place: JSON = {"tenant_id": tenant.pk, "environment_id": environment.pk, "requested_by": None}
    drive(start_capture(**place))
    with tenant_scope(tenant.pk):
        assert Environment.objects.get(pk=environment.pk).n8n_version == OLD

    made, operation = start_rehearsal(**place, version=route[0])
    drive(operation)
    with tenant_scope(tenant.pk):
        report = report_from(Rehearsal.objects.get(pk=made.pk).report)
    assert report is not None and len(report.workflows) == len(ids)
    print(report.counts(), report.seconds, report.unknown_types)
    rules = {w.name: {f.rule for f in w.findings} for w in report.workflows}
    assert "triggers_switched_off" in rules["Scheduled"]
    assert "awakened" in rules["Hooked"]
    assert "not_published_by_n8n" in rules["No inputs"]
    assert not rules["Last"] and not rules["Middle"] and not rules["First"]

    approved = 0
    for version in route:
        n8n.upgrade_to(version)
        drive(services.start_check(**place))
        with tenant_scope(tenant.pk):
            assert Environment.objects.get(pk=environment.pk).n8n_version == version
            event = N8nUpgrade.objects.filter(environment=environment).latest("noticed_at")
            standing = list(DriftIncident.objects.filter(incident_state="OPEN").select_related("workflow_env_map"))
        assert (event.from_version, event.to_version) == (
            {NEW: route[-2] if len(route) > 1 else OLD, MIDDLE: OLD}[version],
            version,
        )
        changes = {change.name: change for change in upgrade_selectors.changes_of(event)}
        assert all(change.made_by == "n8n" for change in changes.values()), changes
        assert {i.workflow_env_map.env_name for i in standing} == changes.keys()
        assert all(i.upgrade_id == event.pk for i in standing)
        if version != route[0]:
            assert not changes, "n8n changes nothing between 2.0.3 and 2.41.1"
            continue
        graded = {
            name: changes[name].effect for name in ("Last", "Middle", "Handler", "By hand", "Scheduled", "Hooked")
        }
        assert graded == {
            "Last": "low",
            "Middle": "low",
            "Handler": "low",
            "By hand": "low",
            "Scheduled": "high",
            "Hooked": "critical",
        }
        assert changes["Last"].callers == ("Middle",)
        assert "No inputs" not in changes
        for name, found in rules.items():
            if found & {"awakened", "triggers_switched_off"}:
                assert changes[name].effect in ("high", "critical"), name
        drive(services.approve_upgrade(tenant_id=tenant.pk, upgrade_id=event.pk, requested_by=None))
        approved += len(changes)
    with tenant_scope(tenant.pk):
        assert not DriftIncident.objects.filter(incident_state="OPEN").exists()
        assert DriftIncident.objects.filter(incident_state="RECONCILED").count() == approved
        rows = list(WorkflowEnvMap.objects.all())
    assert len(rows) == len(ids)
    assert all(r.git_content_hash == r.env_content_hash and r.git_active == r.env_active for r in rows)
