from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from sandbox.faults import Fault, FaultError
from sandbox.testing import SandboxInstance

HOOK = {
    "id": "n1",
    "name": "Hook",
    "type": "n8n-nodes-base.webhook",
    "typeVersion": 2,
    "position": [0, 0],
    "parameters": {"path": "orders", "httpMethod": "POST"},
}
STEP = {
    "id": "n2",
    "name": "Step",
    "type": "n8n-nodes-base.set",
    "typeVersion": 3.4,
    "position": [1, 0],
    "parameters": {},
}


def body(**changed: Any) -> dict[str, Any]:
    return {"name": "Orders", "nodes": [HOOK, STEP], "connections": {}, "settings": {}, **changed}


@pytest.fixture
def orders(n8n: SandboxInstance) -> str:
    """An active workflow."""
    return n8n.seed([{**body(), "active": True}])[0]["id"]


def stored(n8n: SandboxInstance, workflow_id: str) -> dict[str, Any]:
    found = n8n.workflow(workflow_id)
    assert found is not None
    return found


def test_a_connection_dropped_before_leaves_nothing_behind(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="drop_before", method="PUT")
    with n8n.client() as client, pytest.raises(httpx.TransportError):
        client.put(f"/workflows/{orders}", json=body(name="New"))
    assert stored(n8n, orders)["name"] == "Orders"
    assert n8n.calls(method="PUT")[0] == {
        "method": "PUT",
        "path": f"/api/v1/workflows/{orders}",
        "status": 0,
        "fault": "drop_before",
    }


def test_a_connection_dropped_after_has_written_all_the_same(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="drop_after", method="PUT", times=1)
    with n8n.client() as client:
        with pytest.raises(httpx.TransportError):
            client.put(f"/workflows/{orders}", json=body(name="New"))
        assert client.get(f"/workflows/{orders}").json()["name"] == "New"
        assert client.put(f"/workflows/{orders}", json=body(name="Newer")).status_code == 200


def test_a_rate_limit_names_when_to_come_back(n8n: SandboxInstance) -> None:
    n8n.fault(kind="status", status=429, retry_after=3, nth=2)
    with n8n.client() as client:
        answers = [client.get("/workflows") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[1].headers["retry-after"] == "3"


@pytest.mark.parametrize(("status", "kind"), [(401, "status"), (404, "status"), (500, "html")])
def test_refusals(n8n: SandboxInstance, status: int, kind: str) -> None:
    n8n.fault(kind=kind, status=status, path=r"/workflows$")
    with n8n.client() as client:
        answer = client.get("/workflows")
        assert client.get("/tags").status_code == 200
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html" if kind == "html" else "application/json")


def test_a_partial_write_loses_the_activation(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="partial", mode="lost_activation", method="PUT")
    with n8n.client() as client:
        assert client.put(f"/workflows/{orders}", json=body(name="New")).status_code == 400
    after = stored(n8n, orders)
    assert (after["name"], after["active"]) == ("New", False)


def test_a_silent_partial_write_claims_success(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="partial", mode="silent_inactive", method="PUT")
    with n8n.client() as client:
        assert client.put(f"/workflows/{orders}", json=body(name="New")).json()["active"] is True
    assert stored(n8n, orders)["active"] is False


def test_a_truncated_write_keeps_half_of_the_nodes(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="partial", mode="truncated_nodes", method="PUT")
    with n8n.client() as client:
        assert client.put(f"/workflows/{orders}", json=body()).status_code == 500
    assert [node["name"] for node in stored(n8n, orders)["nodes"]] == ["Hook"]


def test_somebody_else_edits_between_two_calls(n8n: SandboxInstance, orders: str) -> None:
    n8n.fault(kind="edit_after", method="GET", path=f"/workflows/{orders}", times=1, changes={"name": "Theirs"})
    with n8n.client() as client:
        assert client.get(f"/workflows/{orders}").json()["name"] == "Orders"
        assert client.get(f"/workflows/{orders}").json()["name"] == "Theirs"


def test_a_stalled_call_can_be_given_up_and_others_go_on(n8n: SandboxInstance) -> None:
    n8n.fault(kind="stall", path="/workflows$", seconds=30)
    with n8n.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/workflows", timeout=0.2)
        assert client.get("/tags").status_code == 200


def test_latency_only_delays(n8n: SandboxInstance) -> None:
    n8n.fault(kind="latency", seconds=0.2)
    started = time.monotonic()
    with n8n.client() as client:
        assert client.get("/workflows").status_code == 200
    assert time.monotonic() - started >= 0.2


def test_an_answer_cut_short_is_not_json(n8n: SandboxInstance) -> None:
    n8n.fault(kind="garbage", path="/workflows$")
    with n8n.client() as client, pytest.raises(ValueError):
        client.get("/workflows").json()


def test_probability_is_the_same_for_the_same_seed() -> None:
    def outcome(seed: int) -> list[bool]:
        fault = Fault.parse({"kind": "status", "probability": 0.3, "seed": seed}, fault_id="1")
        return [fault.fires("GET", "/") for _ in range(50)]

    assert outcome(1) == outcome(1) != outcome(2)
    assert 5 < sum(outcome(1)) < 30


@pytest.mark.parametrize("spec", [{"kind": "odd"}, {"kind": "partial", "mode": "odd"}, {"kind": "stall", "odd": 1}])
def test_a_fault_that_makes_no_sense_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        Fault.parse(spec, fault_id="1")
