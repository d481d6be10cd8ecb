"""Git stores are packed by themselves, through the durable engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from core import clock
from operations import services as operations
from operations.models import Operation, Schedule
from sandbox.testing import SandboxInstance
from snapshots import maintenance, repository
from snapshots.models import Snapshot
from snapshots.services import load_content, snapshot_by_id, start_capture, verify_snapshot
from snapshots.store import ContentMissing, GitStore
from tenants.scope import platform_scope, tenant_scope

from .conftest import make_environment
from .test_store import SEEN, write


@pytest.fixture
def captured(live_cast: Any, n8n: SandboxInstance, run_operations: Any) -> Any:
    """A tenant whose environment was captured twice, with an edit in between."""
    environment = make_environment(live_cast.tenant, n8n)
    n8n.generate(8, size=4000)
    edited = n8n.state()["workflows"][0]["id"]
    for _ in range(2):
        start_capture(tenant_id=live_cast.tenant.pk, environment_id=environment.pk, requested_by=None)
        assert set(run_operations(live_cast.tenant)) == {"COMPLETED"}
        n8n.edit(edited)
    return environment


def due(tenant: Any) -> None:
    with tenant_scope(tenant.pk):
        Schedule.objects.filter(kind=maintenance.KIND).update(next_run_at=clock.now() - timedelta(seconds=1))
        Schedule.objects.exclude(kind=maintenance.KIND).delete()


def test_each_tenant_with_a_capture_gets_its_rounds_once(captured: Any, live_cast: Any) -> None:
    assert maintenance.keep_schedules() == 1
    assert maintenance.keep_schedules() == 0
    with platform_scope():
        rows = list(Schedule.objects.filter(kind=maintenance.KIND))
    assert {row.tenant_id for row in rows} == {live_cast.tenant.pk}
    assert {(row.params["full"], row.every_seconds) for row in rows} == {(False, 86_400), (True, 604_800)}
    for row in rows:
        assert row.next_run_at <= clock.now() + timedelta(seconds=row.every_seconds)


def test_a_round_packs_the_store_and_every_snapshot_still_reads(
    captured: Any, live_cast: Any, run_operations: Any
) -> None:
    store = repository.store_for(live_cast.tenant.pk)
    before = store.size()
    assert before.packs + before.loose > 1
    maintenance.keep_schedules()
    due(live_cast.tenant)
    assert operations.run_due_schedules() == 2
    assert run_operations(live_cast.tenant) == ["COMPLETED"] * 2
    after = store.size()
    assert (after.packs, after.loose) == (1, 0)
    assert store.verify().is_whole
    with tenant_scope(live_cast.tenant.pk):
        result = Operation.objects.get(kind=maintenance.KIND, params__full=True).result
        captures = list(Operation.objects.filter(kind="snapshots.capture").values_list("subject_id", flat=True))
    assert result["pruned"] and result["after"]["packs"] == 1
    for snapshot_id in captures:
        snapshot = snapshot_by_id(live_cast.tenant.pk, snapshot_id)
        read = [(entry["name"], content["name"]) for entry, content in load_content(snapshot)]
        assert len(read) == 8 and all(said == held for said, held in read)


def test_a_branch_moved_by_force_costs_no_snapshot(captured: Any, live_cast: Any, run_operations: Any) -> None:
    store = repository.store_for(live_cast.tenant.pk)
    with tenant_scope(live_cast.tenant.pk):
        first, second = Snapshot.objects.order_by("created_at")
    branch = captured.seen_branch
    store.move_branch(branch, to=first.git_commit_sha, expected=second.git_commit_sha)
    assert maintenance.look_after(live_cast.tenant.pk, full=True)["kept"] == 1
    assert maintenance.look_after(live_cast.tenant.pk, full=True)["kept"] == 0, "once is enough"
    assert len(list(load_content(second))) == 8
    assert store.branches().keys() == {branch, captured.canonical_branch}, "no branch more than before"
    start_capture(tenant_id=live_cast.tenant.pk, environment_id=captured.pk, requested_by=None)
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    assert verify_snapshot(second).status == "verified"
    with tenant_scope(live_cast.tenant.pk):
        Snapshot.objects.filter(pk=second.pk).delete()
    maintenance.look_after(live_cast.tenant.pk, full=True)
    with pytest.raises(ContentMissing):
        store.commit_info(second.git_commit_sha)
    assert store.commit_info(first.git_commit_sha), "what is still wanted stays"


def test_what_was_reached_through_a_commit_that_goes_is_kept_for_itself(tmp_path: Path) -> None:
    store = GitStore.open(tmp_path, "tenant").create()
    first, second, third = (write(store, {"workflows/a.json": text}) for text in (b"1", b"2", b"3"))
    store.move_branch(SEEN, to=first, expected=third)
    assert store.keep([third]) == 1
    assert store.keep([second, third]) == 0, "the third leads to it"
    assert store.keep([second]) == 1
    store.gc(full=True)
    assert store.read(second, "workflows/a.json") == b"2"
    with pytest.raises(ContentMissing):
        store.read(third, "workflows/a.json")


def test_a_git_folder_that_is_not_there_is_seen_before_a_capture_begins_anew(
    captured: Any, settings: Any, tmp_path: Path, client: Client
) -> None:
    def found() -> dict[str, Any]:
        return client.get("/health/detailed").json()["components"]["git_store"]

    assert found()["status"] == "ok"
    settings.GIT_ROOT = tmp_path / "not mounted"
    assert (found()["status"], found()["missing_stores"]) == ("failed", 1)
    assert "mounted" in found()["message"]
    assert client.get("/api/v1/snapshots/healthz").status_code == 503
