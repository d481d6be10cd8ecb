"""The proof of a restore speaks of every fact: what is not as it was, and what could not be put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operations.handlers import boundary_observers
from operations.models import Operation
from sandbox.testing import SandboxServer
from snapshots.models import Snapshot
from snapshots.preview import preview
from snapshots.services import start_capture
from snapshots.starting import start_restore
from tenants.scope import tenant_scope

from .conftest import make_environment, workflow

JSON = dict[str, Any]


class Site:
    """One environment with one workflow, captured; and what a restore of that says."""

    def __init__(self, cast: Any, n8n: Any, run_operations: Any, *, before: JSON | None = None) -> None:
        self.cast, self.n8n, self.run_operations = cast, n8n, run_operations
        self.environment = make_environment(cast.tenant, n8n)
        self.id = n8n.seed([workflow("Orders")])[0]["id"]
        if before:
            n8n.edit(self.id, **before)
        operation = start_capture(tenant_id=cast.tenant.pk, environment_id=self.environment.pk, requested_by=None)
        run_operations(cast.tenant)
        with tenant_scope(cast.tenant.pk):
            self.snapshot = Snapshot.objects.get(pk=operation.subject_id)

    def restore(self) -> JSON:
        operation = start_restore(
            tenant_id=self.cast.tenant.pk,
            environment_id=self.environment.pk,
            snapshot_id=self.snapshot.pk,
            requested_by=None,
        )
        self.run_operations(self.cast.tenant)
        with tenant_scope(self.cast.tenant.pk):
            done = Operation.objects.get(pk=operation.pk)
        assert done.status == "COMPLETED", done.error_details
        return dict(done.result)


@pytest.fixture
def make(live_cast: Any, sandbox_server: SandboxServer, run_operations: Any) -> Any:
    made = []

    def site(profile: str = "2.41", **options: Any) -> Site:
        made.append(sandbox_server.control.create(profile=profile))
        return Site(live_cast, made[-1], run_operations, **options)

    yield site
    boundary_observers.clear()
    for instance in made:
        instance.delete()


def facts(rows: list[JSON]) -> list[str]:
    return [row["fact"] for row in rows]


@pytest.mark.parametrize(
    ("before", "meddling"),
    [
        ({"tags": ["one"]}, {"tags": ["two"]}),
        ({"settings": {"timeSavedMode": "fixed"}}, {"settings": {"timeSavedMode": "dynamic"}}),
        ({"archived": True}, {"archived": False}),
    ],
)
def test_a_fact_that_comes_back_is_proven(make: Callable[..., Site], before: JSON, meddling: JSON) -> None:
    site = make(before=before)
    site.n8n.edit(site.id, **meddling)
    result = site.restore()
    assert result["status"] == "restored"
    assert result["proof"] == {"equal": True, "compared": 1, "differing": [], "left": []}


def test_tags_that_n8n_does_not_take_are_named_in_the_proof(make: Callable[..., Site]) -> None:
    site = make(before={"tags": ["one"]})
    site.n8n.edit(site.id, tags=["two"])
    site.n8n.fault(kind="status", status=400, method="PUT", path="/tags$", times=9)
    proof = site.restore()["proof"]
    assert proof["equal"] is True
    assert [(row["name"], row["fact"]) for row in proof["left"]] == [("Orders", "tags")]
    assert proof["left"][0]["reason"]


def test_a_setting_that_was_not_there_then_is_named(make: Callable[..., Site]) -> None:
    site = make()
    site.n8n.edit(site.id, settings={"timeSavedMode": "fixed"})
    proof = site.restore()["proof"]
    assert facts(proof["left"]) == ["settings.timeSavedMode"]
    assert proof["differing"] == []


def test_an_archive_that_the_api_does_not_reach_is_named(make: Callable[..., Site]) -> None:
    site = make("2.8", before={"archived": True})
    site.n8n.archive(site.id, False)
    proof = site.restore()["proof"]
    assert facts(proof["left"]) == ["archived"]


def test_what_somebody_changes_before_the_proof_is_not_called_equal(make: Callable[..., Site]) -> None:
    site = make(before={"tags": ["one"]})
    site.n8n.edit(site.id, tags=["two"])

    def meddle(name: str) -> None:
        if name == "after:git:before-intent":
            site.n8n.edit(site.id, tags=["three"])

    boundary_observers.append(meddle)
    result = site.restore()
    assert result["status"] == "restored_and_edited_since"
    (row,) = result["proof"]["differing"]
    assert (row["fact"], row["wanted"], row["found"]) == ("tags", ["one"], ["three"])


def in_folders(make: Callable[..., Site], profile: str) -> Site:
    """Captured in one folder, moved into another since."""
    site = make(profile, before={"folder": "one"})
    site.n8n.change(folders=["one", "two"])
    site.n8n.edit(site.id, folder="two")
    return site


def looked_at(site: Site) -> list[str]:
    found = preview(tenant_id=site.cast.tenant.pk, environment_id=site.environment.pk, snapshot_id=site.snapshot.pk)
    return [warning.code for warning in found.warnings]


def test_a_workflow_goes_back_into_its_folder(make: Callable[..., Site]) -> None:
    site = in_folders(make, "2.40")
    assert looked_at(site) == []
    assert site.restore()["proof"] == {"equal": True, "compared": 1, "differing": [], "left": []}
    with site.n8n.client() as client:
        assert client.get(f"/workflows/{site.id}").json()["parentFolder"]["id"] == "one"


@pytest.mark.parametrize(("profile", "folders"), [("2.35", ["one", "two"]), ("2.40", [])])
def test_a_folder_that_this_n8n_moves_nothing_into_is_named_before_and_after(
    make: Callable[..., Site], profile: str, folders: list[str]
) -> None:
    """By its version, or by its licence."""
    site = in_folders(make, profile)
    site.n8n.change(folders=folders)
    assert looked_at(site) == ["folder"]
    result = site.restore()
    assert (result["status"], facts(result["proof"]["left"])) == ("restored", ["folder"])
