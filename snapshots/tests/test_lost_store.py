"""A Git store that is gone stays gone, whatever asks for it, until a person brings it back or gives it up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from operations.models import Operation
from snapshots import canonical, contents, maintenance, recovery, repository, verification
from snapshots.models import Snapshot
from snapshots.store import StoreMissing
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment

from .conftest import workflow


@pytest.fixture
def lost(capture: Callable[..., Any], n8n: Any, environment: Environment) -> Snapshot:
    """A snapshot whose store was taken away."""
    n8n.seed([workflow("Orders")])
    snapshot: Snapshot = capture()
    shutil.move(store_of(environment), store_of(environment).with_suffix(".elsewhere"))
    return snapshot


def store_of(environment: Environment) -> Any:
    return repository.opened(environment.tenant_id).path


def health() -> dict[str, Any]:
    found: dict[str, Any] = Client().get("/health/detailed").json()["components"]["git_store"]
    return found


#: Every service that opens a store, with the snapshot that was lost.
OPENING: dict[str, Callable[[Snapshot], Any]] = {
    "reading the manifest": contents.manifest_of,
    "verifying": verification.verify_snapshot,
    "approved contents": lambda lost: canonical.canonical_content(lost.environment),
    "approving": lambda lost: canonical.set_baseline(None, environment=lost.environment, snapshot=lost),
    "recovering rows": lambda lost: recovery.recover(tenant_id=lost.tenant_id),
    "packing": lambda lost: maintenance.look_after(lost.tenant_id, full=True),
}


@pytest.mark.parametrize("opens", OPENING.values(), ids=OPENING)
def test_what_opens_a_lost_store_says_so_and_makes_none(lost: Snapshot, opens: Callable[[Snapshot], Any]) -> None:
    with pytest.raises(StoreMissing):
        opens(contents.snapshot_by_id(lost.tenant_id, lost.pk))
    assert not repository.opened(lost.tenant_id).path.exists()


def test_neither_pages_nor_jobs_nor_the_api_make_it_anew(
    lost: Snapshot, live_cast: Any, environment: Environment, capture: Callable[..., Any]
) -> None:
    _, secret = create_token(user=live_cast.owner, name="runbook")
    api = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    client = Client()
    client.force_login(live_cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    home = f"/t/{live_cast.tenant.slug}/snapshots/{lost.pk}"
    answers = [
        client.get(f"{home}/restore/"),
        client.get(f"{home}/compare/?with=approved"),
        client.get(f"{home}/download/"),
        Client().get(f"/api/v1/restore/{environment.pk}/preview?snapshot_id={lost.pk}", **api),
        Client().get(f"/api/v1/snapshots/{lost.pk}?contents=true", **api),
        Client().post(f"/api/v1/snapshots/{lost.pk}/verify", **api),
        Client().post(
            f"/api/v1/restore/{environment.pk}/execute?wait=0",
            json.dumps({"snapshot_id": str(lost.pk), "approve": True}),
            content_type="application/json",
            **api,
        ),
    ]
    assert all(answer.status_code < 500 for answer in answers), [answer.status_code for answer in answers]
    failed = capture()
    assert isinstance(failed, Operation) and "not where it should be" in failed.error_message
    assert not store_of(environment).exists()
    assert (health()["status"], health()["missing_stores"]) == ("failed", 1)


def test_the_check_names_the_tenant_and_no_other(lost: Snapshot) -> None:
    said = StringIO()
    with pytest.raises(CommandError, match="missing: acme"):
        call_command("snapshots_check", stdout=said)
    assert "acme: MISSING" in said.getvalue() and "umbrella: nothing captured yet" in said.getvalue()


def test_a_root_that_is_not_mounted_is_not_made_by_looking_at_it(lost: Snapshot, settings: Any, tmp_path: Any) -> None:
    settings.GIT_ROOT = tmp_path / "not mounted"
    assert health()["status"] == "failed"
    assert not settings.GIT_ROOT.exists()


def test_it_is_begun_anew_only_by_a_person_who_gives_it_up(
    lost: Snapshot, environment: Environment, capture: Callable[..., Any]
) -> None:
    with pytest.raises(CommandError, match="--tenant"):
        call_command("snapshots_recover", "--new-store")
    call_command("snapshots_recover", "--tenant", "acme", "--new-store", stdout=StringIO())
    assert health()["status"] == "ok"
    with pytest.raises(CommandError, match="is there"):
        call_command("snapshots_recover", "--tenant", "acme", "--new-store", stdout=StringIO())
    again = capture()
    assert isinstance(again, Snapshot)
    assert verification.verify_snapshot(again).status == "verified"
    with tenant_scope(environment.tenant_id):
        assert Environment.objects.get(pk=environment.pk).baseline_commit_sha
    assert verification.verify_snapshot(lost).status == "damaged"
