"""Odd workflows, bad instances and broken stores, each through the services and on the pages: a clear word, a way out,
nothing lost."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client

from operations.models import Operation
from sandbox.schema import PROFILES, openapi
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots import repository, services
from snapshots.models import Snapshot, WorkflowContent
from snapshots.starting import start_restore
from snapshots.store import plumbing
from tenants.scope import tenant_scope
from workflows import live
from workflows.gateway import environment_by_id
from workflows.models import Environment
from workflows.n8n import Limits

from .conftest import workflow

SEEN = "snapshots/production"


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def node(number: int, **parameters: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": f"Step {number}",
        "type": "n8n-nodes-base.set",
        "typeVersion": 3.4,
        "position": [200 * (number % 80), 120 * (number // 80)],
        "parameters": parameters,
    }


def wired(name: str, count: int, wires: list[tuple[str, str]], **parameters: Any) -> dict[str, Any]:
    """A workflow of plain nodes; wires by the nodes' names."""
    connections: dict[str, Any] = {}
    for source, target in wires:
        lanes = connections.setdefault(source, {"main": [[]]})["main"]
        lanes[0].append({"node": target, "type": "main", "index": 0})
    return {
        "name": name,
        "nodes": [node(number, **parameters) for number in range(count)],
        "connections": connections,
        "settings": {},
    }


CHAIN = [(f"Step {number}", f"Step {number + 1}") for number in range(4999)]
ODD = {
    "nothing for a name": workflow(""),
    "slashes": workflow("a/../../b"),
    "a line break": workflow("two\nlines"),
    "emoji": workflow("🧨 Bälle"),
    "markup": workflow("<script>alert(1)</script>"),
    "capitals": workflow("Orders"),
    "no capitals": workflow("orders"),
    "the same name": workflow("orders", url="https://example.org/other"),
    "5,000 nodes": wired("Five thousand", 5000, CHAIN),
    "10 MB": wired("Ten megabytes", 1, [], text="0123456789" * 1_000_000),
    "a circle": wired("Round and round", 3, [("Step 0", "Step 1"), ("Step 1", "Step 2"), ("Step 2", "Step 0")]),
    "to itself": wired("Round at once", 1, [("Step 0", "Step 0")]),
    "into the void": wired("Into the void", 1, [("Step 0", "Nowhere"), ("Nobody", "Step 0")]),
}


def test_odd_workflows_are_kept_shown_and_restored(
    live_cast: Any,
    sandbox_server: SandboxServer,
    n8n: SandboxInstance,
    environment: Environment,
    capture: Callable[..., Any],
    run_operations: Any,
) -> None:
    n8n.seed(list(ODD.values()))
    first = capture()
    assert isinstance(first, Snapshot), first.error_message
    assert services.verify_snapshot(first).status == "verified"
    entries = {entry["env_workflow_id"]: entry for entry in first.workflows}
    assert len(entries) == len(ODD)
    assert len({entry["path"].casefold() for entry in entries.values()}) == len(ODD), "also where case does not count"
    told = {(finding["code"], finding.get("name")) for finding in first.verification["findings"]}
    assert ("dangling_connection", "Into the void") in told

    client = signed_in(live_cast.owner)
    for path in ("", f"snapshots/{first.pk}/", *(f"workflows/{entry['key']}/" for entry in entries.values())):
        page = client.get(f"/t/acme/{path}")
        assert page.status_code == 200, path
        assert b"<script>alert" not in page.content

    # Into an instance that has nothing, and from there again: equal by hash.
    empty = sandbox_server.control.create()
    with tenant_scope(live_cast.tenant.pk):
        Environment.objects.filter(pk=environment.pk).update(base_url=empty.base_url)
    empty.change(api_keys=[n8n.api_key])
    operation = start_restore(
        tenant_id=live_cast.tenant.pk, environment_id=environment.pk, snapshot_id=first.pk, requested_by=None
    )
    run_operations(live_cast.tenant)
    with tenant_scope(live_cast.tenant.pk):
        done = Operation.objects.get(pk=operation.pk)
    assert (done.status, done.result and done.result["proof"]["equal"]) == ("COMPLETED", True), done.error_details
    again = capture()
    assert {e["key"]: e["content_hash"] for e in again.workflows} == {
        entry["key"]: entry["content_hash"] for entry in entries.values()
    }
    empty.delete()


# -- an instance that answers nonsense ---------------------------------------------------------------------------------

GOOD = {"id": "1", "active": False, **workflow("Good")}


@contextlib.contextmanager
def answering(listed: Callable[[], bytes]) -> Iterator[str]:
    """An n8n whose list of workflows is these bytes; its address."""
    specification = openapi(PROFILES["1.123"])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = specification if self.path.endswith("openapi.yml") else listed()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def lines(*workflows: Any, more: str = "") -> bytes:
    return (
        f'{{"data": [{", ".join([json.dumps(GOOD), *map(json.dumps, workflows)])}{more}], "nextCursor": null}}'.encode()
    )


@pytest.mark.parametrize(
    "listed",
    [
        b"<html><body>Please sign in</body></html>",
        lines(more=', {"id": "2", "name": "N", "nodes": [], "connections": {}, "settings": {"a": NaN}}'),
        lines()[:-40],
        b"[]",
        b"null",
        b'{"data": "all of them"}',
    ],
    ids=["html", "NaN", "cut off", "a list", "null", "a word"],
)
def test_an_answer_that_is_no_list_of_workflows_is_named_and_changes_nothing(
    live_cast: Any, n8n: SandboxInstance, environment: Environment, capture: Callable[..., Any], listed: bytes
) -> None:
    n8n.seed([workflow("Orders")])
    first = capture()
    with answering(lambda: listed) as address:
        with tenant_scope(live_cast.tenant.pk):
            Environment.objects.filter(pk=environment.pk).update(base_url=address)
        failed = capture()
    assert isinstance(failed, Operation) and failed.error_code == "N8N_007"
    says_so(live_cast, environment, failed)
    with tenant_scope(live_cast.tenant.pk):
        assert Environment.objects.get(pk=environment.pk).last_snapshot_id == first.pk


@pytest.mark.parametrize(("how", "code"), [("slowly", "N8N_005"), ("cut off", "N8N_006"), ("not at all", "N8N_003")])
def test_an_instance_that_answers_slowly_or_not_is_named(
    live_cast: Any,
    n8n: SandboxInstance,
    environment: Environment,
    capture: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    code: str,
) -> None:
    monkeypatch.setattr("workflows.gateway.Limits", partial(Limits, read=0.5, total_time=2.0, attempts=1))
    n8n.seed([workflow("Orders")])
    first = capture()
    if how == "slowly":
        n8n.fault(kind="stall", seconds=5, path="/workflows")
    elif how == "cut off":
        n8n.fault(kind="drop_before", path="/workflows")
    else:
        with socket.socket() as nobody, tenant_scope(live_cast.tenant.pk):
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            Environment.objects.filter(pk=environment.pk).update(base_url=url)
    failed = capture()
    assert isinstance(failed, Operation) and failed.error_code == code
    says_so(live_cast, environment, failed)
    with tenant_scope(live_cast.tenant.pk):
        assert Environment.objects.get(pk=environment.pk).last_snapshot_id == first.pk


def test_what_is_no_workflow_is_noted_and_the_others_go_on(
    live_cast: Any, environment: Environment, capture: Callable[..., Any]
) -> None:
    bad = [
        {"id": "2", "name": "Nodes in words", "nodes": "none", "connections": {}},
        {"id": "3", "name": "A node that is none", "nodes": [7], "connections": {}},
        {"id": "4", "name": "Wired with a list", "nodes": [], "connections": [1]},
        {"id": "5", "name": None, "nodes": [], "connections": {}},
        {"id": "6", "name": "A number for tags", "nodes": [], "connections": {}, "tags": 7},
        {"id": "7", "name": "A node with an object for a name", "nodes": [{"name": {}, "type": "x"}]},
        {"id": "8", "name": "Outputs that are a number", "nodes": [], "connections": {"A": {"main": 1}}},
        # These can be read; what is odd about them must not keep the others from being captured.
        {"id": "9", "name": "Ids that are objects", "nodes": [{"id": {}, "name": "A", "type": "x"}]},
        {"id": "10", "name": "Leads to a list", "nodes": [], "connections": {"A": {"main": [[{"node": []}]]}}},
        {
            "id": "11", "name": "What runs is nonsense", "nodes": [], "connections": {}, "versionId": "2",
            "activeVersionId": "1", "activeVersion": {"nodes": [{"name": [], "type": {}}]},
        },
    ]  # fmt: skip
    with answering(lambda: lines(*bad)) as address:
        with tenant_scope(live_cast.tenant.pk):
            Environment.objects.filter(pk=environment.pk).update(base_url=address)
        snapshot = capture()
        listed = live.live_workflows(environment_by_id(live_cast.tenant.pk, environment.pk)).workflows
    assert isinstance(snapshot, Snapshot), snapshot.error_message
    kept = {entry["name"] for entry in snapshot.workflows}
    assert {"Good", "Ids that are objects", "Leads to a list"} <= kept
    unreadable = {
        f["env_workflow_id"]: f["message"] for f in snapshot.verification["findings"] if f["code"] == "unreadable"
    }
    assert {"2", "3", "4", "6", "7", "8", "11"} == set(unreadable) and all(unreadable.values())
    assert {row["id"] for row in listed if not row["readable"]} == set(unreadable), "n8n's list of this moment"
    page = unescape(signed_in(live_cast.viewer).get(f"/t/acme/snapshots/{snapshot.pk}/").content.decode())
    assert "Nodes in words" in page and unreadable["2"] in page


def says_so(cast: Any, environment: Environment, failed: Operation) -> None:
    """The job's page and the environment's say what went wrong and what to do."""
    assert failed.status == "FAILED" and failed.error_details["recovery"]
    client = signed_in(cast.viewer)
    for path in (f"jobs/{failed.pk}/", f"environments/{environment.pk}/"):
        page = unescape(client.get(f"/t/acme/{path}").content.decode())
        assert failed.error_code in page, path
        assert failed.error_message in page and failed.error_details["recovery"] in page, path


# -- a Git store in trouble --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plumbing, "_SETTINGS", (*plumbing._SETTINGS, "core.filesRefLockTimeout=0"))
    lock = store.path / f"refs/heads/{SEEN}.lock"
    lock.touch()
    yield
    assert lock.exists(), "somebody else's lock is left alone"
    lock.unlink()


@contextlib.contextmanager
def full(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file may become larger: to Git the same as a disk without room, and possible for everybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def damaged_branch(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    branch = store.path / f"refs/heads/{SEEN}"
    before = branch.read_bytes()
    branch.write_bytes(b"not a commit\n")
    yield
    assert branch.read_bytes() == b"not a commit\n", "it is left for a person to look at"
    branch.write_bytes(before)


@contextlib.contextmanager
def not_writable(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (store.path / "objects").chmod(0o500)
    yield
    (store.path / "objects").chmod(0o700)


TROUBLES = {
    "locked": (locked, "holds the Git store"),
    "full": (full, "no room left"),
    "a damaged branch": (damaged_branch, "damaged"),
    "not writable": (not_writable, "cannot be written"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_in_trouble_is_named_and_works_again_once_it_is_well(
    live_cast: Any,
    n8n: SandboxInstance,
    environment: Environment,
    capture: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    (made,) = n8n.seed([workflow("Orders")])
    first = capture()
    store = repository.store_for(live_cast.tenant.pk)
    # Too much for a store that is full, and it does not pack.
    large = base64.b64encode(os.urandom(600_000)).decode()
    n8n.edit(made["id"], nodes=workflow(url=f"https://example.org/{large}")["nodes"])
    make, words = TROUBLES[trouble]
    with make(store, monkeypatch):
        failed = capture()
        assert isinstance(failed, Operation), "it cannot have worked"
        assert failed.error_code == "SNAP_001" and words in failed.error_message
        says_so(live_cast, environment, failed)
    with tenant_scope(live_cast.tenant.pk):
        assert Environment.objects.get(pk=environment.pk).last_snapshot_id == first.pk
    assert store.tip(SEEN) == first.git_commit_sha and services.verify_snapshot(first).status == "verified"
    assert store.verify().findings == []

    second = capture()
    assert isinstance(second, Snapshot), second.error_message
    assert services.verify_snapshot(second).status == "verified"
    with tenant_scope(live_cast.tenant.pk):
        assert Environment.objects.get(pk=environment.pk).last_capture_error is None


def test_a_damaged_snapshot_says_so_and_cannot_be_restored(
    live_cast: Any,
    n8n: SandboxInstance,
    environment: Environment,
    capture: Callable[..., Any],
    run_operations: Any,
) -> None:
    """One content of it is gone from Git: the page names the workflow, a restore writes nothing."""
    (made,) = n8n.seed([workflow("Orders")])
    first = capture()
    n8n.edit(made["id"], nodes=workflow(url="https://example.org/new")["nodes"])
    capture()
    blob = first.workflows[0]["blob"]
    store = repository.store_for(live_cast.tenant.pk)
    (store.path / "objects" / blob[:2] / blob[2:]).unlink()
    with tenant_scope(live_cast.tenant.pk):
        WorkflowContent.objects.filter(blob=blob).delete()  # the database would stand in for Git

    client = signed_in(live_cast.operator)
    client.post(f"/t/acme/snapshots/{first.pk}/verify/")
    run_operations(live_cast.tenant)
    page = unescape(client.get(f"/t/acme/snapshots/{first.pk}/").content.decode())
    assert "Damaged" in page and "Orders" in page
    operation = start_restore(
        tenant_id=live_cast.tenant.pk, environment_id=environment.pk, snapshot_id=first.pk, requested_by=None
    )
    run_operations(live_cast.tenant)
    with tenant_scope(live_cast.tenant.pk):
        done = Operation.objects.get(pk=operation.pk)
    assert (done.status, done.error_code) == ("FAILED", "REST_001") and done.error_details["recovery"]
    assert ("orders", "SNAP_002") in {(p["key"], p["code"]) for p in done.error_details["details"]["problems"]}
    now = n8n.client().get(f"/workflows/{made['id']}").json()
    assert now["nodes"][1]["parameters"]["url"] == "https://example.org/new"
