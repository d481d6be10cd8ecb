"""On an n8n that publishes versions: a restore never switches off what something that runs on calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from operations.handlers import boundary_observers
from operations.models import Operation
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.preview import preview
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment

from .conftest import caller, workflow

KEPT = [{"key": "sub", "name": "Sub", "called_by": ["Later"]}]


@pytest.fixture(params=["2.41"])
def n8n(request: Any, sandbox_server: SandboxServer) -> Iterator[SandboxInstance]:
    instance = sandbox_server.control.create(profile=request.param)
    yield instance
    instance.delete()


def sub(text: str, **more: Any) -> dict[str, Any]:
    """A workflow that only others set off."""
    made = workflow("Sub", url=f"https://example.org/{text}", **more)
    made["nodes"][0] |= {"type": "n8n-nodes-base.executeWorkflowTrigger", "parameters": {"inputSource": "passthrough"}}
    return made


def tool(name: str, called: str) -> dict[str, Any]:
    """A workflow whose agent has another as its tool."""
    made = caller(name, called)
    made["nodes"][-1]["type"] = "@n8n/n8n-nodes-langchain.toolWorkflow"
    return made


def watched(name: str, handler: str) -> dict[str, Any]:
    """A workflow whose failures another takes."""
    return workflow(name, settings={"executionOrder": "v1", "errorWorkflow": handler})


def only_lets_call(name: str, other: str) -> dict[str, Any]:
    """A workflow that another may call, and that calls nothing."""
    settings = {"executionOrder": "v1", "callerPolicy": "workflowsFromAList", "callerIds": other}
    return workflow(name, settings=settings)


def publish(n8n: SandboxInstance, *ids: str) -> None:
    with n8n.client() as client:
        for ident in ids:
            answer = client.post(f"/workflows/{ident}/publish", json={})
            assert answer.status_code == 200, answer.text
    n8n.settle()


def runs(n8n: SandboxInstance, name: str) -> tuple[bool, str]:
    """Whether it is published, and the address that it fetches."""
    found = next(w for w in n8n.state()["workflows"] if w["name"] == name)
    return bool(found["active"]), str((found["activeVersion"] or found)["nodes"][1]["parameters"].get("url"))


@pytest.fixture
def restore(live_cast: Any, environment: Environment, run_operations: Any) -> Callable[..., Operation]:
    def go(snapshot: Snapshot, **options: Any) -> Operation:
        operation = start_restore(
            tenant_id=live_cast.tenant.pk,
            environment_id=environment.pk,
            snapshot_id=snapshot.pk,
            requested_by=live_cast.operator,
            options=RestoreOptions.from_params(options),
            dry_run=bool(options.get("dry_run")),
        )
        run_operations(live_cast.tenant)
        with tenant_scope(live_cast.tenant.pk):
            return Operation.objects.get(pk=operation.pk)

    return go


def look(snapshot: Snapshot, **options: Any) -> dict[str, Any]:
    found = preview(
        tenant_id=snapshot.tenant_id,
        environment_id=snapshot.environment_id,
        snapshot_id=snapshot.pk,
        options=RestoreOptions.from_params(options),
    )
    return found.preview().to_json()


def told(rows: list[dict[str, Any]]) -> list[str]:
    return [row["message"] for row in rows if row["code"] == "kept_published"]


@pytest.fixture
def rested(n8n: SandboxInstance, capture: Any) -> Snapshot:
    """A snapshot in which Sub was not published; since then it is, with another content, and Later calls it."""
    there = n8n.seed([sub("old")])[0]["id"]
    snapshot: Snapshot = capture()
    n8n.edit(there, nodes=sub("new")["nodes"])
    later = n8n.seed([caller("Later", there)])[0]["id"]
    publish(n8n, there, later)
    return snapshot


@pytest.mark.parametrize("keys", [None, ["sub"]])
def test_what_is_called_stays_published_with_its_old_content(
    n8n: SandboxInstance, rested: Snapshot, restore: Any, keys: Any
) -> None:
    planned = look(rested, keys=keys)
    assert planned["kept_published"] == KEPT and planned["can_restore"]
    assert told(planned["warnings"]) == ["It stays published, because “Later” calls it. In the snapshot it was not."]
    assert planned["updated_workflows"][0]["effects"] == [
        "What runs is replaced.",
        "It stays published, because “Later” calls it.",
    ]
    n8n.clear_calls()
    done = restore(rested, keys=keys)
    assert done.status == "COMPLETED", done.error_details
    assert runs(n8n, "Sub") == (True, "https://example.org/old")
    assert not [call for call in n8n.calls() if call["path"].endswith(("/unpublish", "/deactivate", "/archive"))]
    assert done.result["kept_published"] == KEPT
    assert done.result["proof"]["equal"] is True and done.result["proof"]["differing"] == []
    assert done.result["proof"]["left"] == [
        {
            "key": "sub",
            "name": "Sub",
            "fact": "published",
            "reason": "It is still published, because “Later” calls it.",
        }
    ]


def test_where_only_its_being_published_differs_nothing_is_written_and_it_is_named(
    n8n: SandboxInstance, capture: Any, restore: Any
) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    snapshot = capture()
    publish(n8n, there, n8n.seed([caller("Later", there)])[0]["id"])
    assert look(snapshot)["counts"]["unchanged"] == 1
    done = restore(snapshot)
    assert runs(n8n, "Sub")[0] is True
    assert done.result["kept_published"] == KEPT and done.result["proof"]["left"][0]["fact"] == "published"


@pytest.mark.parametrize(("make", "keeps"), [(caller, True), (tool, True), (watched, True), (only_lets_call, False)])
def test_every_kind_of_call_counts_and_a_permission_does_not(
    n8n: SandboxInstance, capture: Any, restore: Any, make: Any, keeps: bool
) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    snapshot = capture()
    publish(n8n, there, n8n.seed([make("Later", there)])[0]["id"])
    assert bool(look(snapshot)["kept_published"]) is keeps
    restore(snapshot)
    assert runs(n8n, "Sub")[0] is keeps


def test_callers_that_end_with_the_restore_keep_nothing(n8n: SandboxInstance, capture: Any, restore: Any) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    main = n8n.seed([caller("Later", there)])[0]["id"]
    snapshot = capture()
    publish(n8n, there, main)
    assert look(snapshot)["kept_published"] == []
    assert look(snapshot, keys=["sub"])["kept_published"] == KEPT
    done = restore(snapshot)
    assert done.status == "COMPLETED", done.error_details
    assert (runs(n8n, "Sub")[0], runs(n8n, "Later")[0]) == (False, False)
    assert done.result["kept_published"] == [] and done.result["proof"]["left"] == []


def test_callers_that_no_longer_call_it_keep_nothing(n8n: SandboxInstance, capture: Any, restore: Any) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    main = n8n.seed([workflow("Later")])[0]["id"]
    publish(n8n, main)
    snapshot = capture()
    publish(n8n, there)
    n8n.edit(main, nodes=caller("Later", there)["nodes"])
    publish(n8n, main)
    done = restore(snapshot)
    assert done.status == "COMPLETED", done.error_details
    assert (runs(n8n, "Sub")[0], runs(n8n, "Later")[0]) == (False, True)


def test_what_is_archived_in_the_snapshot_is_not_archived_while_it_is_called(
    n8n: SandboxInstance, capture: Any, restore: Any
) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    with n8n.client() as client:
        assert client.post(f"/workflows/{there}/archive", json={}).status_code == 200
        snapshot = capture()
        assert client.post(f"/workflows/{there}/unarchive", json={}).status_code == 200
    publish(n8n, there, n8n.seed([caller("Later", there)])[0]["id"])
    done = restore(snapshot)
    assert done.result["kept_published"] == KEPT
    found = n8n.workflow(there)
    assert (found["active"], bool(found.get("isArchived"))) == (True, False)


def test_what_others_call_is_not_deleted(n8n: SandboxInstance, capture: Any, restore: Any) -> None:
    main = n8n.seed([workflow("Later")])[0]["id"]
    publish(n8n, main)
    snapshot = capture()
    there = n8n.seed([sub("new"), workflow("Gone")])[0]["id"]
    publish(n8n, there)
    n8n.edit(main, nodes=caller("Later", there)["nodes"])
    publish(n8n, main)
    options = {"delete_extra": True, "overwrite_existing": False}
    planned = look(snapshot, **options)
    effects = {row["name"]: row["effect"] for row in planned["extra_workflows"]}
    assert effects == {"Sub": "left alone", "Gone": "deleted"}
    assert told(planned["warnings"]) == ["It is not deleted, because “Later” calls it."]
    done = restore(snapshot, **options)
    assert done.status == "COMPLETED", done.error_details
    assert [row["name"] for row in done.result["kept_published"]] == ["Sub"]
    assert {w["name"] for w in n8n.state()["workflows"]} == {"Later", "Sub"} and runs(n8n, "Sub")[0]
    assert done.result["proof"]["equal"] is True


def test_what_could_not_run_as_it_was_stops_the_restore_or_is_left_out(
    n8n: SandboxInstance, capture: Any, restore: Any
) -> None:
    """In the snapshot nothing sets it off, so n8n would not publish it."""
    by_hand = sub("old")
    by_hand["nodes"][0] |= {"type": "n8n-nodes-base.manualTrigger", "parameters": {}}
    there = n8n.seed([by_hand, workflow("Other")])[0]["id"]
    snapshot = capture()
    n8n.edit(there, nodes=sub("new")["nodes"])
    publish(n8n, there, n8n.seed([caller("Later", there)])[0]["id"])
    planned = look(snapshot)
    assert [(p["code"], p["key"]) for p in planned["problems"]] == [("called_would_stop", "sub")]
    assert restore(snapshot).status == "FAILED"
    assert runs(n8n, "Sub") == (True, "https://example.org/new")
    done = restore(snapshot, leave_out=True)
    assert [row["key"] for row in done.result["left_out"]] == ["sub"]
    assert runs(n8n, "Sub") == (True, "https://example.org/new")
    assert restore(snapshot, skip_validation=True).status == "COMPLETED"
    assert runs(n8n, "Sub") == (False, "https://example.org/old")


@pytest.mark.parametrize("is_called", [True, False])
def test_a_restore_that_is_put_back_keeps_what_others_have_come_to_call(
    n8n: SandboxInstance, capture: Any, restore: Any, is_called: bool
) -> None:
    there = n8n.seed([sub("old")])[0]["id"]
    main = n8n.seed([caller("Main", there)])[0]["id"]
    publish(n8n, there, main)
    snapshot = capture()
    n8n.edit(main, active=False)
    n8n.edit(there, nodes=sub("new")["nodes"], active=False)
    n8n.settle()

    def call_and_refuse(step: str) -> None:
        """Somebody calls Sub as soon as it runs; then n8n refuses what the restore wants to publish next."""
        if step != "restore:activate:sub:after-result":
            return
        boundary_observers.remove(call_and_refuse)
        if is_called:
            publish(n8n, n8n.seed([caller("Later", there)])[0]["id"])
        n8n.fault(kind="status", status=400, method="POST", path=f"/workflows/{main}/publish", times=9)

    boundary_observers.append(call_and_refuse)
    done = restore(snapshot)
    assert done.status == "FAILED" and done.error_details["details"]["status"] == "put_back", done.error_details
    assert runs(n8n, "Sub") == (is_called, "https://example.org/new")
    assert runs(n8n, "Main")[0] is False
    details = done.error_details["details"]
    assert details["kept_published"] == (KEPT if is_called else [])
    assert [row["fact"] for row in details["proof"]["left"]] == (["published"] if is_called else [])


@pytest.mark.parametrize("n8n", ["1.123"], indirect=True)
def test_an_n8n_that_needs_nothing_published_is_restored_as_before(
    n8n: SandboxInstance, capture: Any, restore: Any
) -> None:
    there = n8n.seed([workflow("Sub")])[0]["id"]
    snapshot = capture()
    n8n.edit(there, active=True)
    n8n.seed([{**caller("Later", there), "active": True}])
    assert look(snapshot)["kept_published"] == []
    done = restore(snapshot)
    assert done.status == "COMPLETED", done.error_details
    assert n8n.workflow(there)["active"] is False
    assert done.result["kept_published"] == [] and done.result["proof"]["left"] == []


def test_the_page_and_the_api_say_so_before_and_after(
    client: Client,
    live_cast: Any,
    environment: Environment,
    n8n: SandboxInstance,
    rested: Snapshot,
    run_operations: Any,
) -> None:
    _, secret = create_token(user=live_cast.operator, name="runbook")
    headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    where = f"/api/v1/restore/{environment.pk}"
    asked = client.get(f"{where}/preview?snapshot_id={rested.pk}", **headers).json()["preview"]
    assert asked["kept_published"] == KEPT
    client.force_login(live_cast.operator)
    page = f"/t/{live_cast.tenant.slug}/snapshots/{rested.pk}/restore/"
    assert "It stays published, because “Later” calls it." in client.get(page).content.decode()
    for dry_run in (True, False):
        body = json.dumps({"snapshot_id": str(rested.pk), "dry_run": dry_run})
        answer = client.post(f"{where}/execute?wait=0", body, content_type="application/json", **headers).json()
        run_operations(live_cast.tenant)
        with tenant_scope(live_cast.tenant.pk):
            operation = Operation.objects.get(pk=answer["operation"]["id"])
        assert operation.status == "COMPLETED", operation.error_details
        assert operation.result["kept_published"] == KEPT
        job = client.get(f"/t/{live_cast.tenant.slug}/jobs/{operation.pk}/").content.decode()
        assert "Kept published" in job and "called by Later" in " ".join(job.split())
    assert runs(n8n, "Sub") == (True, "https://example.org/old")
