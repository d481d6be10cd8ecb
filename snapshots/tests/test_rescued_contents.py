"""What Git has lost and the database keeps is read, restored, compared and taken away all the same, and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from operations.models import Operation
from snapshots import repository, services
from snapshots.errors import SnapshotUnreadable
from snapshots.models import Snapshot, WorkflowContent
from snapshots.preview import preview
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment

from .conftest import workflow
from .test_restore import restore  # noqa: F401 -- a fixture

LOST = "missing from Git and read from the database, checked by hash. Fetch the repository again"


@pytest.fixture
def snapshot(capture: Callable[..., Any], n8n: Any, environment: Environment) -> Snapshot:
    """Two workflows as they were; one was changed since, and the other taken away."""
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    found: Snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.delete_workflow(made[1]["id"])
    return found


def lose_contents(snapshot: Snapshot) -> None:
    """The objects of every content are gone; commits and manifests stay."""
    path = repository.opened(snapshot.tenant_id).path
    for entry in snapshot.workflows:
        (path / "objects" / entry["blob"][:2] / entry["blob"][2:]).unlink()


def forget(snapshot: Snapshot) -> None:
    with tenant_scope(snapshot.tenant_id):
        WorkflowContent.objects.all().delete()


def hashes(snapshot: Snapshot) -> dict[str, str]:
    return {entry["name"]: entry["content_hash"] for entry in snapshot.workflows}


def test_a_lost_object_is_restored_from_the_database_and_named(
    snapshot: Snapshot,
    restore: Callable[..., Operation],  # noqa: F811
    capture: Callable[..., Any],
) -> None:
    lose_contents(snapshot)
    done = restore(snapshot)
    assert done.status == "COMPLETED", done.error_message
    (warning,) = (w for w in done.result["warnings"] if w["code"] == "SNAP_002")
    assert f"The contents of 2 workflows are {LOST}" in warning["message"]
    assert sorted(warning["keys"]) == sorted(entry["key"] for entry in snapshot.workflows)
    assert hashes(capture()) == hashes(snapshot)


def test_a_destroyed_store_is_begun_anew_and_restored_from_the_database(
    snapshot: Snapshot,
    environment: Environment,
    restore: Callable[..., Operation],  # noqa: F811
    capture: Callable[..., Any],
) -> None:
    shutil.rmtree(repository.opened(snapshot.tenant_id).path)
    plan = preview(tenant_id=snapshot.tenant_id, environment_id=environment.pk, snapshot_id=snapshot.pk)
    assert not plan.problems and [w.code for w in plan.warnings] == ["SNAP_002"]
    refused = restore(snapshot)
    assert refused.status == "FAILED" and "not where it should be" in refused.error_message, "no way back was kept"
    call_command("snapshots_recover", "--tenant", "acme", "--new-store", stdout=StringIO())
    done = restore(snapshot)
    assert done.status == "COMPLETED", done.error_message
    assert hashes(capture()) == hashes(snapshot)


def test_what_is_nowhere_or_not_what_git_named_is_the_error(snapshot: Snapshot, environment: Environment) -> None:
    lose_contents(snapshot)
    with tenant_scope(snapshot.tenant_id):
        WorkflowContent.objects.filter(blob=snapshot.workflows[0]["blob"]).update(content='{"name": "Planted"}')
    ids = {"tenant_id": snapshot.tenant_id, "environment_id": environment.pk, "snapshot_id": snapshot.pk}
    (problem,) = (p for p in preview(**ids).problems if p.code == "SNAP_002")
    assert "neither in the Git store nor in the database" in problem.message
    forget(snapshot)
    with pytest.raises(SnapshotUnreadable) as caught:
        list(services.load_bytes(snapshot))
    assert caught.value.code == "SNAP_002" and "recover" in caught.value.recovery


def test_a_damaged_object_is_read_from_the_database_too(snapshot: Snapshot) -> None:
    before = list(services.load_bytes(snapshot))
    for entry in snapshot.workflows:
        path = repository.opened(snapshot.tenant_id).path / "objects" / entry["blob"][:2] / entry["blob"][2:]
        path.chmod(0o600)
        path.write_bytes(b"not zlib")
    assert list(services.load_bytes(snapshot)) == before


def test_downloads_and_comparisons_say_where_it_came_from(snapshot: Snapshot, live_cast: Any) -> None:
    lose_contents(snapshot)
    client = Client()
    client.force_login(live_cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    home = f"/t/{live_cast.tenant.slug}/snapshots/{snapshot.pk}"
    key = snapshot.workflows[0]["key"]
    taken = json.loads(b"".join(client.get(f"{home}/download/")))  # type: ignore[arg-type]
    _, secret = create_token(user=live_cast.viewer, name="x")
    path = f"/api/v1/snapshots/{snapshot.pk}"
    answer = Client().get(f"{path}?contents=true", headers={"Authorization": f"Bearer {secret}"}).json()
    for whole in (taken["workflows"], answer["snapshot"]["workflows"]):
        assert all(entry["content"]["nodes"] for entry in whole)
    for warnings in (taken["warnings"], answer["warnings"]):
        assert [w["code"] for w in warnings] == ["SNAP_002"] and LOST in warnings[0]["message"]
    page = client.get(f"{home}/compare/?with={snapshot.pk}&key={key}", follow=True).content.decode()
    assert "missing from Git (SNAP_002)" in page
