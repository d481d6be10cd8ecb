"""What Git has lost of the approved is taken from the database, by its hash; what is kept nowhere is said."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from django.test import Client

from drift.tests.test_settling import drifted, stabilize
from snapshots import repository
from snapshots.canonical import canonical_blobs
from snapshots.models import Snapshot
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


def lose_approved(site: Any, key: str) -> None:
    """The approved content of one workflow is gone from Git; commits, trees and everything else stay."""
    blob = canonical_blobs(site.environment)[key]
    (repository.opened(site.tenant.pk).path / "objects" / blob[:2] / blob[2:]).unlink()


def lose_branch(site: Any, _key: str) -> None:
    """The branch of what is approved is gone; snapshots stay."""
    store = repository.opened(site.tenant.pk).path
    subprocess.run(
        ["git", "update-ref", "-d", f"refs/heads/{site.environment.canonical_branch}"], cwd=store, check=True
    )


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (lose_approved, "missing from Git and read from the database"),
        (lose_branch, "Git has lost the branch env/"),
    ],
)
def test_what_git_has_lost_of_the_approved_is_taken_from_the_database_and_named(
    site: Any, live_cast: Any, client: Client, lose: Any, said: str
) -> None:
    incident = drifted(site)
    lose(site, "orders")
    client.force_login(live_cast.owner)
    shown = client.get(f"/t/{site.tenant.slug}/drift/{incident.pk}/?view=graph").content.decode()
    assert "Approved, from the database: missing from Git (SNAP_002)" in shown or lose is lose_branch
    done = stabilize(site, incident)
    assert done.status == "COMPLETED", done.error_details
    assert [warning["code"] for warning in done.result["warnings"]] == ["SNAP_002"]
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}
    job = client.get(f"/t/{site.tenant.slug}/jobs/{done.pk}/").content.decode()
    assert said in job


def test_what_is_approved_and_kept_nowhere_is_nothing_to_go_back_to(site: Any) -> None:
    incident = drifted(site)
    lose_branch(site, "orders")
    with tenant_scope(site.tenant.pk):
        Snapshot.objects.filter(environment=site.environment).update(workflows=[])
    refused = stabilize(site, incident)
    cause = refused.error_details["details"]["cause"]
    assert (cause["code"], cause["message"]) == ("DRIFT_008", "Git holds no approved content of this workflow.")
    assert cause["recovery"] == "Reconcile the workflow, or restore it from a snapshot."
    assert site.incident().is_active
