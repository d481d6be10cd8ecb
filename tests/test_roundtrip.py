"""Real workflows there and back: captured into Git, restored into an empty n8n, captured again, equal by hash.
And drift of every kind: found, put back or approved, and a snapshot restored over it.

Against the sandbox always (with generated workflows where the folder of real ones is missing), and against real n8n
instances with ``--n8n=live`` or OPSCONSOLE_LIVE_N8N=1 (the oldest and the newest version).
What n8n itself adds to a workflow must not count as drift.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core import crypto
from drift.models import ACTIVE, DriftIncident
from drift.services import reconcile, stabilize, start_check
from operations import engine
from operations.models import Operation
from sandbox.generate import estate
from sandbox.live import NEWEST, OLDEST, LiveN8n, missing
from sandbox.testing import SandboxServer
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.services import start_capture, verify_snapshot
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tests.real import real_workflows
from workflows.gateway import address_policy
from workflows.models import Environment
from workflows.n8n import N8nClient
from workflows.n8n.errors import Rejected
from workflows.references import CredentialRef, references, rewrite
from workflows.structure import structure_faults

GENERATED = 120
#: One worker runs them all, so that the instances are started once.
LIVE = pytest.mark.xdist_group("roundtrip")


@dataclass
class Place:
    """Where an n8n is."""

    base_url: str
    api_key: str

    def client(self) -> N8nClient:
        """n8n's own API, as a person's tool would use it behind the console's back."""
        return N8nClient(base_url=self.base_url, api_key=self.api_key, policy=address_policy())

    def create_all(self, workflows: list[dict[str, Any]]) -> list[str]:
        """All that n8n takes; the names of those that it refuses."""
        refused = []
        with self.client() as client:
            for workflow in workflows:
                try:
                    client.create_workflow(workflow)
                except Rejected:
                    refused.append(workflow["name"])
        return refused

    def names(self) -> list[str]:
        with self.client() as client:
            return sorted(workflow["name"] for page in client.iter_workflow_pages() for workflow in page.items)


def given() -> list[dict[str, Any]]:
    """The real workflows as those of one instance, or generated ones where there are none."""
    return [owned(workflow) for workflow in real_workflows()] or [w for _, w in estate(GENERATED, seed=4)]


def owned(workflow: dict[str, Any]) -> dict[str, Any]:
    """With credentials by ids as one n8n gives them: the real ones come from many, some without ids."""
    found = {
        (r.credential_type, r.value or r.name): CredentialRef(
            hashlib.sha256(f"{r.credential_type} {r.name}".encode()).hexdigest()[:16], r.name or r.credential_type
        )
        for r in references(workflow)
        if r.kind == "credential"
    }
    return rewrite(workflow, workflow_ids={}, credentials=found).content


@pytest.fixture
def sandboxes() -> Iterator[tuple[Place, Place]]:
    with SandboxServer() as server:
        yield tuple(Place(i.base_url, i.api_key) for i in (server.control.create(), server.control.create()))  # type: ignore[misc]


@pytest.fixture(scope="module")
def real_instances(n8n_version: str) -> Iterator[tuple[Place, Place]]:
    with LiveN8n(2, version=n8n_version) as instances:
        yield tuple(Place(i.base_url, i.api_key) for i in instances)  # type: ignore[misc]


def test_there_and_back(live_cast: Any, sandboxes: tuple[Place, Place]) -> None:
    _there_and_back(live_cast.tenant, *sandboxes)


@LIVE
@pytest.mark.live_n8n
@pytest.mark.timeout(900)
def test_there_and_back_on_a_real_n8n(live_cast: Any, real_instances: tuple[Place, Place]) -> None:
    _there_and_back(live_cast.tenant, *real_instances)


def _there_and_back(tenant: Any, origin: Place, empty: Place) -> None:
    workflows = given()
    refused = origin.create_all(workflows)
    assert not refused or sorted(refused) == sorted(w["name"] for w in workflows if structure_faults(w))
    environment = _environment(tenant, origin)
    first = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
    assert first.workflow_count == len(workflows) - len(refused)
    assert verify_snapshot(first).status == "verified"
    assert _drifted(environment) == []

    _move(environment, empty)
    # Nobody has the credentials that these workflows name; an n8n that lists its own lets the console see that.
    restored = _drive(
        start_restore(**_in(environment), snapshot_id=first.pk, requested_by=None, options=RestoreOptions(stubs=True))
    )
    assert restored.result["counts"]["created"] == first.workflow_count
    assert restored.result["proof"]["equal"] is True

    again = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
    assert again.workflow_count == first.workflow_count
    assert _unlike(first, again) == []


def _unlike(first: Snapshot, again: Snapshot) -> list[str]:
    """Keys of what is in both snapshots and not equal by hash."""
    before, after = ({e["key"]: e["content_hash"] for e in s.workflows} for s in (first, again))
    common = before.keys() & after.keys()
    print(f"{len(before)} before, {len(after)} after, {sum(before[key] == after[key] for key in common)} equal by hash")
    return sorted(key for key in common if before[key] != after[key])


@LIVE
@pytest.mark.live_n8n
@pytest.mark.newest_n8n
@pytest.mark.timeout(900)
def test_an_estate_of_an_old_n8n_goes_into_an_empty_new_one(live_cast: Any, n8n_version: str) -> None:
    """What the new one refuses is named before a write; a person has the rest restored, then has it mended."""
    if n8n_version != NEWEST or missing(OLDEST):
        pytest.skip("needs the oldest n8n beside the newest")
    workflows = given()
    with LiveN8n(1, version=OLDEST) as (old,), LiveN8n(1, version=NEWEST) as (new,):
        origin, empty = Place(old.base_url, old.api_key), Place(new.base_url, new.api_key)
        assert origin.create_all(workflows) == []
        environment = _environment(live_cast.tenant, origin)
        first = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
        _move(environment, empty)
        chosen: dict[str, Any] = {**_in(environment), "snapshot_id": first.pk, "requested_by": None}

        faulty = [w["name"] for w in workflows if structure_faults(w)]
        if faulty:  # of generated ones none is
            refused = _drive(start_restore(**chosen, options=RestoreOptions(stubs=True)), status="FAILED")
            assert {p["code"] for p in refused.error_details["details"]["problems"]} == {"structure"}
            assert refused.error_details["details"]["concerned"] == len(faulty)
            assert empty.names() == []

        rest = _drive(start_restore(**chosen, options=RestoreOptions(stubs=True, leave_out=True))).result
        left = Counter(row["name"] for row in rest["left_out"])
        assert not Counter(faulty) - left and rest["proof"]["equal"] is True
        assert Counter(empty.names()) == Counter(w["name"] for w in workflows) - left
        assert _unlike(first, _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))) == []

        mended = _drive(start_restore(**chosen, options=RestoreOptions(stubs=True, repair=True, leave_out=True))).result
        hopeless = [w["name"] for w in workflows if any(not f.repairable for f in structure_faults(w))]
        assert sorted(row["name"] for row in mended["left_out"]) == sorted(hopeless)
        assert mended["proof"]["equal"] is True
        assert len(empty.names()) == len(workflows) - len(hopeless)
        stubs = len(rest["worklist"]) + len(mended["worklist"])
        print(f"{len(faulty)} refused; {left.total()} left out; {len(hopeless)} not mended; {stubs} stubs")


def test_drift_is_settled(live_cast: Any, sandboxes: tuple[Place, Place]) -> None:
    _settled(live_cast, sandboxes[0])


@LIVE
@pytest.mark.live_n8n
@pytest.mark.timeout(300)
def test_drift_is_settled_on_a_real_n8n(live_cast: Any, real_instances: tuple[Place, Place]) -> None:
    _settled(live_cast, real_instances[0])


def _settled(cast: Any, place: Place) -> None:
    """Six kinds of meddling: one is no drift, one is approved, four are put back at once; then all as it once was."""
    with place.client() as n8n:
        made = {
            name: n8n.create_workflow(_hook(name, "1")).id
            for name in ("Content", "Settings", "Switch", "Gone", "Moved")
        }
        try:
            _meddle_and_settle(cast, place, n8n, made)
        finally:
            for ident in {*made.values(), *(workflow["id"] for workflow in _seeded(n8n).values())}:
                n8n.delete(ident)


def _seeded(n8n: N8nClient) -> dict[str, dict[str, Any]]:
    """What is there now of this test's own, by name."""
    found = (workflow for page in n8n.iter_workflow_pages() for workflow in page.items)
    return {workflow["name"]: workflow for workflow in found if workflow["name"] in SEEDED}


def _meddle_and_settle(cast: Any, place: Place, n8n: N8nClient, made: dict[str, str]) -> None:
    for name in ("Content", "Switch", "Gone"):
        n8n.publish(made[name])
    environment = _environment(cast.tenant, place)
    baseline = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
    assert _drifted(environment) == []
    approved = {name: n8n.get_workflow(ident) for name, ident in made.items()}

    n8n.update_workflow(made["Content"], _hook("Content", "2"))
    n8n.update_workflow(made["Settings"], {**_hook("Settings", "1"), "settings": {"executionTimeout": 60}})
    n8n.unpublish(made["Switch"])
    n8n.delete(made["Gone"])
    n8n.publish(n8n.create_workflow(_hook("Appeared", "1")).id)
    moved = _hook("Moved", "1")
    moved["nodes"][0]["position"] = [960, 480]
    n8n.update_workflow(made["Moved"], moved)
    assert sorted(_drifted(environment)) == ["Appeared", "Content", "Gone", "Settings", "Switch"]
    found = _standing(environment)
    assert {name: row.kind for name, row in found.items()} == {
        "Appeared": "added", "Content": "modified", "Gone": "removed", "Settings": "modified", "Switch": "activation",
    }  # fmt: skip

    # One is right as it is; the others go back in one job.
    (approving,) = reconcile(
        tenant_id=cast.tenant.pk, incident_ids=[found["Settings"].pk], comment="Agreed.", requested_by=cast.owner
    )
    assert [row["name"] for row in _drive(approving).result["reconciled"]] == ["Settings"]
    back = [row.pk for name, row in found.items() if name != "Settings"]
    (putting_back,) = stabilize(tenant_id=cast.tenant.pk, incident_ids=back, requested_by=cast.owner)
    result = _drive(putting_back).result
    assert {row["name"]: row["action"] for row in result["stabilized"]} == {
        "Appeared": "deactivate", "Content": "restore", "Gone": "restore", "Switch": "restore",
    }  # fmt: skip
    assert result["failed"] == [] and _drifted(environment) == []

    # n8n itself says so, behind the console's back.
    now = _seeded(n8n)
    for name in ("Content", "Switch", "Gone", "Moved"):
        assert now[name]["active"] == approved[name]["active"]
        assert [n["parameters"] for n in now[name]["nodes"]] == [n["parameters"] for n in approved[name]["nodes"]]
    assert now["Gone"]["id"] != made["Gone"], "an n8n never gives the same id twice"
    assert now["Settings"]["settings"]["executionTimeout"] == 60 and not now["Appeared"]["active"]

    # The first snapshot is restored over it: what was approved since is put back, too, and so drifts.
    report = _drive(start_restore(**_in(environment), snapshot_id=baseline.pk, requested_by=cast.owner)).result
    assert [row["name"] for row in report["updated"]] == ["Settings"] and report["created"] == report["failed"] == []
    assert report["proof"]["equal"] is True
    assert n8n.get_workflow(made["Settings"])["settings"].get("executionTimeout", -1) == -1
    assert _drifted(environment) == ["Settings"]


SEEDED = ("Content", "Settings", "Switch", "Gone", "Moved", "Appeared")


def _hook(name: str, version: str) -> dict[str, Any]:
    """A workflow that can be switched on; its answer is ``version``."""
    path = f"settled-{name.lower()}"
    called = {"path": path, "httpMethod": "POST", "responseMode": "lastNode"}
    then = {"mode": "raw", "jsonOutput": f'{{"version": {version}}}'}
    return {
        "name": name,
        "nodes": [
            {
                "id": f"{path}-1", "name": "Called", "type": "n8n-nodes-base.webhook", "typeVersion": 2,
                "position": [0, 0], "parameters": called, "webhookId": path,
            },
            {
                "id": f"{path}-2", "name": "Then", "type": "n8n-nodes-base.set", "typeVersion": 3.4,
                "position": [240, 0], "parameters": then,
            },
        ],
        "connections": {"Called": {"main": [[{"node": "Then", "type": "main", "index": 0}]]}},
        "settings": {"executionOrder": "v1"},
    }  # fmt: skip


def _in(environment: Environment) -> dict[str, Any]:
    return {"tenant_id": environment.tenant_id, "environment_id": environment.pk}


def _environment(tenant: Any, place: Place) -> Environment:
    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant=tenant,
            name="Home",
            slug="home",
            kind="staging",
            base_url=place.base_url,
            api_key_encrypted=crypto.encrypt(place.api_key),
        )


def _move(environment: Environment, place: Place) -> None:
    """The instance is gone; its address now leads to one without a single workflow."""
    with tenant_scope(environment.tenant_id):
        Environment.objects.filter(pk=environment.pk).update(
            base_url=place.base_url, api_key_encrypted=crypto.encrypt(place.api_key)
        )


def _drive(operation: Operation, *, status: str = "COMPLETED") -> Operation:
    engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(operation.tenant_id):
        done = Operation.objects.get(pk=operation.pk)
    assert done.status == status, json.dumps(done.error_details)[:4000]
    return done


def _snapshot(operation: Operation) -> Snapshot:
    with tenant_scope(operation.tenant_id):
        return Snapshot.objects.get(pk=operation.result["snapshot_id"])


def _drifted(environment: Environment) -> list[str]:
    """Names of what a fresh check calls drifted."""
    _drive(start_check(**_in(environment), requested_by=None))
    return list(_standing(environment))


def _standing(environment: Environment) -> dict[str, DriftIncident]:
    with tenant_scope(environment.tenant_id):
        found = DriftIncident.objects.filter(incident_state__in=[str(s) for s in ACTIVE])
        return {row.workflow_env_map.env_name: row for row in found.select_related("workflow_env_map")}
