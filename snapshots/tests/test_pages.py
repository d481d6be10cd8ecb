"""Pages and REST of snapshots: what they show, who may, and how many queries it takes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import AuditLog
from core import clock
from operations.models import Operation
from snapshots import repository, services
from snapshots.models import Snapshot, WorkflowContent
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment, WorkflowEnvMap

from .conftest import caller, make_environment, workflow


@pytest.fixture
def page(live_cast: Any) -> Client:
    client = Client()
    client.force_login(live_cast.operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def api(live_cast: Any) -> Any:
    _, secret = create_token(user=live_cast.operator, name="runbook")

    def call(method: str, path: str, body: Any = None, *, token: str = secret) -> Any:
        data = json.dumps(body) if body is not None else None
        return Client().generic(
            method, f"/api/v1{path}", data or "", content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
        )

    return call


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is there at once: what is started has ended when the call looks."""
    from operations import engine, services

    monkeypatch.setattr(
        services,
        "wake",
        lambda *, operation_id, tenant_id: engine.drive(operation_id=operation_id, tenant_id=tenant_id),
    )


def base(cast: Any) -> str:
    return f"/t/{cast.tenant.slug}/snapshots"


def test_the_story_on_pages(
    page: Client, live_cast: Any, n8n: Any, environment: Environment, run_operations: Any
) -> None:
    made = n8n.seed([workflow("Orders <b>", active=True), workflow("Invoices")])
    home = base(live_cast)
    assert b"Nothing captured yet" in page.get(f"{home}/").content
    answer = page.post(f"{home}/new/", {"environment": environment.pk, "snapshot_type": "manual_backup"})
    assert answer.status_code == 302 and "/jobs/" in answer["Location"]
    run_operations(live_cast.tenant)
    with tenant_scope(live_cast.tenant.pk):
        snapshot = Snapshot.objects.get()
    listed = page.get(f"{home}/?environment=production&type=manual_backup").content.decode()
    assert str(snapshot.pk) in listed
    shown = page.get(f"{home}/{snapshot.pk}/").content.decode()
    assert "Orders &lt;b&gt;" in shown and "<b>" not in shown.split("<main")[1].split("<aside")[0].replace("<body", "")
    assert "Invoices" not in page.get(f"{home}/{snapshot.pk}/?q=orders").content.decode()
    bundle = b"".join(page.get(f"{home}/{snapshot.pk}/download/"))  # type: ignore[arg-type]
    with tenant_scope(live_cast.tenant.pk):
        taken = AuditLog.objects.get(action="SNAPSHOT_DOWNLOADED")
    assert (taken.resource_id, taken.actor_user_id) == (snapshot.pk, live_cast.operator.pk)
    assert taken.details == {"bytes": len(bundle), "sha256": hashlib.sha256(bundle).hexdigest()}
    assert [w["content"]["name"] for w in json.loads(bundle)["workflows"]] == ["Invoices", "Orders <b>"]
    n8n.edit(made[1]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    page.post(f"{home}/new/", {"environment": environment.pk, "snapshot_type": "manual_backup"})
    run_operations(live_cast.tenant)
    for other in ("seen", "approved"):
        assert page.get(f"{home}/{snapshot.pk}/compare/?with={other}").status_code == 200
    assert "Invoices" in page.get(f"{home}/{snapshot.pk}/compare/?with=seen").content.decode()
    assert page.get(f"{home}/{snapshot.pk}/compare/?with=seen&key=invoices", follow=True).status_code == 200
    wizard = page.get(f"{home}/{snapshot.pk}/restore/")
    assert wizard.status_code == 200 and "Type <code>Production</code>" in wizard.content.decode()
    refused = page.post(f"{home}/{snapshot.pk}/restore/", {"overwrite_existing": "on", "choice": "all"})
    assert refused.status_code == 422 and "REST_006" in refused.content.decode()
    started = page.post(
        f"{home}/{snapshot.pk}/restore/", {"overwrite_existing": "on", "choice": "all", "typed": "Production"}
    )
    assert started.status_code == 302 and "/jobs/" in started["Location"]
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    assert n8n.workflow(made[1]["id"])["nodes"][1]["parameters"]["url"] == "https://example.org/a"
    verified = page.post(f"{home}/{snapshot.pk}/verify/")
    assert verified.status_code == 302
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    assert "Every content equals its hash" in page.get(f"{home}/{snapshot.pk}/").content.decode()


def test_a_restore_of_what_is_ticked_stays_one(
    page: Client, live_cast: Any, n8n: Any, environment: Environment, capture: Any
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    snapshot = capture()
    for one in made:
        n8n.edit(one["id"], nodes=workflow(url="https://changed.example")["nodes"])
    where, form = f"{base(live_cast)}/{snapshot.pk}/restore/", {"overwrite_existing": "on"}
    refused = page.post(where, form | {"selected": "orders"})
    shown = refused.content.decode()
    assert refused.status_code == 422 and "Restore 1 workflow into Production" in " ".join(shown.split())
    nothing = page.post(where, form | {"choice": "selected", "typed": "Production"})
    assert nothing.status_code == 422 and "No workflow is ticked" in nothing.content.decode()
    with tenant_scope(live_cast.tenant.pk):
        assert not Operation.objects.filter(kind="snapshots.restore").exists()
    assert page.post(where, form | {"typed": "Production", "selected": "orders"}).status_code == 302
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.get(kind="snapshots.restore").params["keys"] == ["orders"]


@pytest.mark.parametrize("asked", ["look", "dry_run"])
def test_what_would_happen_asks_for_no_name_and_writes_nothing(
    page: Client, live_cast: Any, n8n: Any, environment: Environment, capture: Any, asked: str
) -> None:
    """The second name is that of a button that pages had before."""
    made = n8n.seed([workflow("Orders", active=True), workflow("Invoices"), workflow("Stock")])
    snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.delete_workflow(made[1]["id"])
    where, now = f"{base(live_cast)}/{snapshot.pk}/restore/", n8n.state()["workflows"]
    preview = page.get(where).content.decode()
    assert "Restore in spite of" not in preview, "nothing speaks against it"
    assert "/workflows/orders/diff/?left=snapshot%3A" in preview and "Published" in preview
    assert preview.count("since it was last seen") == 1, "only one was edited"
    assert "Nothing was written" not in preview, "nobody has asked yet"
    assert preview.count("what would happen") == 1 and "Try it" not in preview
    told = page.post(where, {"overwrite_existing": "on", asked: "1"})
    said = " ".join(told.content.decode().split())
    assert told.status_code == 200, "nothing is written, so nothing is confirmed"
    assert "It would be restored. Nothing was written." in said and "What runs is replaced." in said
    assert "Of everything, 1 would be created, 1 updated, 0 deleted, 1 left alone." in said
    with tenant_scope(live_cast.tenant.pk):
        assert not Operation.objects.filter(kind="snapshots.restore").exists()
    assert n8n.state()["workflows"] == now


def test_what_would_happen_to_the_ticked_rows_leaves_the_others_to_be_ticked(
    page: Client, live_cast: Any, n8n: Any, environment: Environment, capture: Any
) -> None:
    made = n8n.seed([workflow("Sub"), workflow("Other")])
    n8n.seed([caller("Main", made[0]["id"])])
    snapshot = capture()
    for one in n8n.state()["workflows"]:
        n8n.delete_workflow(one["id"])
    n8n.seed([workflow("New here")])
    where, form = f"{base(live_cast)}/{snapshot.pk}/restore/", {"overwrite_existing": "on", "look": "1"}
    alone = " ".join(page.post(where, form | {"selected": "main"}).content.decode().split())
    assert "It would be refused. Nothing was written." in alone and "Of the 1 ticked, 1 would be created" in alone
    assert "is not in the environment and is not being restored" in alone
    assert 'value="sub"' in alone and 'value="main" data-row-check aria-label="Select Main" checked' in alone
    assert "Restore in spite of" in alone
    both = " ".join(page.post(where, form | {"selected": ["main", "sub"]}).content.decode().split())
    assert "It would be restored. Nothing was written." in both and "Of the 2 ticked, 2 would be created" in both
    assert "New here" not in both, "a selection touches nothing that the snapshot lacks"


def test_a_dry_run_by_the_api_is_a_job_that_shows_what_would_happen(
    page: Client, api: Any, live_cast: Any, n8n: Any, environment: Environment, capture: Any, run_operations: Any
) -> None:
    made = n8n.seed([workflow("Orders", active=True), workflow("Invoices")])
    snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    body = {"snapshot_id": str(snapshot.pk), "dry_run": True}
    started = api("POST", f"/restore/{environment.pk}/execute?wait=0", body).json()["operation"]
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    told = page.get(f"/t/{live_cast.tenant.slug}/jobs/{started['id']}/").content.decode()
    assert "It would be restored. Nothing was written." in told and "What runs is replaced." in told
    assert "<details open><summary>Result" not in told


def test_a_capture_from_a_filtered_list_is_of_that_environment(
    page: Client, live_cast: Any, environment: Environment, n8n: Any
) -> None:
    make_environment(live_cast.tenant, n8n, name="Another", slug="another", position=0)
    listed = page.get(f"{base(live_cast)}/?environment={environment.slug}").content.decode()
    link = re.search(r'href="([^"]+/new/[^"]*)"', listed)
    assert link is not None
    assert f'value="{environment.pk}" selected' in page.get(link[1]).content.decode()


def test_the_list_takes_as_many_queries_for_many_as_for_few(
    page: Client, live_cast: Any, environment: Environment
) -> None:
    def add(count: int) -> None:
        now = clock.now()
        with tenant_scope(live_cast.tenant.pk):
            Snapshot.objects.bulk_create(
                Snapshot(
                    tenant_id=live_cast.tenant.pk,
                    environment=environment,
                    snapshot_type="scheduled",
                    created_at=now - timedelta(seconds=n),
                    created_by=live_cast.operator,
                )
                for n in range(count)
            )

    page.get(f"{base(live_cast)}/")  # the first visit of a session writes its row
    counts = []
    for more in (2, 80):
        add(more)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = page.get(f"{base(live_cast)}/")
        counts.append(len(queries))
        assert answer.status_code == 200
    assert counts[0] == counts[1] <= 20
    first = page.get(f"{base(live_cast)}/?limit=50")
    assert b"cursor=" in first.content


def test_strangers_and_viewers(live_cast: Any, capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    stranger, viewer = Client(), Client()
    backend = "allauth.account.auth_backends.AuthenticationBackend"
    stranger.force_login(live_cast.stranger, backend=backend)
    viewer.force_login(live_cast.viewer, backend=backend)
    mine, theirs = base(live_cast), f"/t/{live_cast.other_tenant.slug}/snapshots"
    for path in ("", "compare/", "download/", "restore/"):
        assert stranger.get(f"{mine}/{snapshot.pk}/{path}").status_code == 404
        assert stranger.get(f"{theirs}/{snapshot.pk}/{path}").status_code == 404
    assert stranger.post(f"{theirs}/{snapshot.pk}/verify/").status_code == 404
    assert viewer.get(f"{mine}/{snapshot.pk}/").status_code == 200
    assert viewer.get(f"{mine}/{snapshot.pk}/restore/").status_code == 403
    assert viewer.post(f"{mine}/{snapshot.pk}/verify/").status_code == 403
    _, token = create_token(user=live_cast.stranger, name="x")
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    for path in (
        f"snapshots/{snapshot.pk}",
        f"snapshots?environment_id={environment.pk}",
        f"restore/{environment.pk}/preview?snapshot_id={snapshot.pk}",
    ):
        assert Client().get(f"/api/v1/{path}", **headers).status_code == 404


def test_the_runbooks_calls(api: Any, at_once: None, n8n: Any, environment: Environment) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    body = {"environment_id": str(environment.pk), "snapshot_type": "manual_backup", "description": "runbook"}
    created = api("POST", "/snapshots", body).json()
    ident = created["snapshot"]["id"]
    assert created["operation"]["status"] == "COMPLETED"
    listed = api("GET", f"/snapshots?environment_id={environment.pk}&limit=20").json()["snapshots"]
    assert [(s["id"], s["snapshot_type"], bool(s["git_commit_sha"])) for s in listed] == [
        (ident, "manual_backup", True)
    ]
    whole = api("GET", f"/snapshots/{ident}").json()["snapshot"]
    assert len(whole["workflows"]) == 2
    n8n.delete_workflow(made[0]["id"])
    n8n.edit(made[1]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    preview = api("GET", f"/restore/{environment.pk}/preview?snapshot_id={ident}").json()["preview"]
    names = ("new_workflows", "updated_workflows", "unchanged_workflows")
    assert [len(preview[name]) for name in names] == [1, 1, 0]
    asked = {"snapshot_id": ident, "dry_run": True, "overwrite_existing": True}
    dry = api("POST", f"/restore/{environment.pk}/execute", asked)
    assert dry.status_code == 200 and dry.json()["restore"]["dry_run"] is True
    assert len(n8n.state()["workflows"]) == 1
    done = api(
        "POST", f"/restore/{environment.pk}/execute", {**asked, "dry_run": False, "skip_validation": False}
    ).json()
    assert [w["key"] for w in done["restore"]["created"]] == ["orders"]
    assert [w["key"] for w in done["restore"]["updated"]] == ["invoices"]
    assert done["restore"]["failed"] == []
    again = api("GET", f"/restore/{environment.pk}/preview?snapshot_id={ident}").json()["preview"]
    assert [len(again[name]) for name in names] == [0, 0, 2]


#: As the recovery runbook has it; what it inserts is what ``git show`` gave.
PUT_BACK = """
INSERT INTO snapshots (id, environment_id, snapshot_type, workflows, git_commit_sha, created_by, created_at)
SELECT (data->>'id')::uuid, (data->>'environment_id')::uuid, (data->>'snapshot_type')::snapshot_type, data->'workflows',
       data->>'git_commit_sha', (data->>'created_by')::uuid, (data->>'created_at')::timestamptz
  FROM (SELECT %s::jsonb AS data) subquery
"""


def test_a_snapshot_put_back_by_hand_names_its_commit(
    api: Any, capture: Any, n8n: Any, environment: Environment
) -> None:
    """A manifest cannot name the commit it lies in; the row and the answers do all the same."""
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    _, manifest = repository.store_for(environment.tenant_id).read_manifest(environment.pk, snapshot.pk)
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.all().delete()
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        operator.execute(PUT_BACK, [manifest.decode()])
    told = api("GET", f"/snapshots/{snapshot.pk}").json()["snapshot"]
    listed = api("GET", f"/snapshots?environment_id={environment.pk}").json()["snapshots"]
    assert told["git_commit_sha"] == listed[0]["git_commit_sha"] == snapshot.git_commit_sha
    assert services.name_commits() == 1
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        row = operator.execute("SELECT git_commit_sha FROM snapshots WHERE id = %s", [snapshot.pk]).fetchone()
    assert row == (snapshot.git_commit_sha,)
    assert services.name_commits() == 0


def test_a_capture_that_failed_answers_as_its_error_and_names_no_snapshot(
    api: Any, at_once: None, n8n: Any, environment: Environment
) -> None:
    """A runbook keeps ``.snapshot.id`` as its safety snapshot and begins to write."""
    n8n.seed([workflow("Orders")])
    n8n.fault(kind="status", status=401, method="GET", path="/workflows$")
    answer = api("POST", "/snapshots", {"environment_id": str(environment.pk)})
    told = answer.json()
    assert answer.status_code >= 400 and "snapshot" not in told
    assert told["error"]["code"] == "SNAP_001"
    assert told["error"]["recovery"] and told["error"]["details"]["operation_id"]


def test_a_capture_that_waits_for_a_person_answers_as_an_error(
    api: Any, monkeypatch: pytest.MonkeyPatch, environment: Environment
) -> None:
    def park(*, operation_id: Any, tenant_id: Any) -> None:
        with tenant_scope(tenant_id):
            Operation.objects.filter(pk=operation_id).update(status="PARKED", error_message="n8n is away")

    monkeypatch.setattr("operations.services.wake", park)
    answer = api("POST", "/snapshots", {"environment_id": str(environment.pk)})
    told = answer.json()
    assert (answer.status_code, told["error"]["code"]) == (409, "OPERATION_PARKED") and "snapshot" not in told


def test_a_misspelt_field_of_a_capture_is_refused(api: Any, environment: Environment) -> None:
    body = {"environment_id": str(environment.pk), "snapshot_typ": "baseline"}
    answer = api("POST", "/snapshots", body)
    assert answer.status_code == 422 and "snapshot_typ" in answer.content.decode()
    with tenant_scope(environment.tenant_id):
        assert not Operation.objects.exists()


def test_a_restore_that_failed_answers_as_its_error_and_says_so_of_each_workflow(
    api: Any, at_once: None, n8n: Any, environment: Environment
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    ident = api("POST", "/snapshots", {"environment_id": str(environment.pk)}).json()["snapshot"]["id"]
    n8n.edit(made[1]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.fault(kind="status", status=400, method="PUT", path=r"/workflows/")
    answer = api("POST", f"/restore/{environment.pk}/execute", {"snapshot_id": ident})
    told = answer.json()
    assert answer.status_code == 502, told
    assert told["error"]["code"] in ("REST_002", "REST_004") and told["error"]["recovery"]
    assert told["operation"]["status"] == "FAILED"
    assert told["restore"]["status"] == "put_back"
    assert [w["key"] for w in told["restore"]["failed"]] == ["invoices"]


def test_a_capture_answers_with_its_id_before_it_is_done(api: Any, n8n: Any, environment: Environment) -> None:
    answer = api("POST", "/snapshots?wait=0", {"environment_id": str(environment.pk)})
    assert answer.status_code == 202
    told = answer.json()
    assert told["snapshot"]["id"] == told["operation"]["subject_id"]
    assert (
        api("POST", "/snapshots?wait=0", {"environment_id": str(environment.pk), "snapshot_type": "nope"}).status_code
        == 422
    )


def test_a_preview_of_an_environment_that_does_not_answer(
    api: Any, capture: Any, n8n: Any, environment: Environment, fast_retries: None
) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    n8n.fault(kind="html", status=502, method="GET", path="/workflows")
    answer = api("GET", f"/restore/{environment.pk}/preview?snapshot_id={snapshot.pk}")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "REST_001"
    assert answer.json()["error"]["details"]["cause"]["code"] == "N8N_018"


def test_a_restore_from_another_environments_snapshot(
    live_cast: Any, sandbox_server: Any, capture: Any, n8n: Any, run_operations: Any
) -> None:
    from snapshots.starting import start_restore

    n8n.seed([workflow("Orders", active=True)])
    snapshot = capture()
    other = sandbox_server.control.create()
    try:
        spare = make_environment(live_cast.tenant, other, name="Spare", slug="spare", kind="staging")
        start_restore(
            tenant_id=live_cast.tenant.pk, environment_id=spare.pk, snapshot_id=snapshot.pk, requested_by=None
        )
        assert run_operations(live_cast.tenant) == ["COMPLETED"]
        assert [(w["name"], w["active"]) for w in other.state()["workflows"]] == [("Orders", True)]
    finally:
        other.delete()


def test_what_git_cannot_give_is_an_error_and_not_half_a_file(
    page: Client, live_cast: Any, n8n: Any, capture: Any
) -> None:
    n8n.seed([workflow("Orders"), workflow("Invoices", url="https://example.org/b")])
    snapshot = capture()
    store = repository.store_for(live_cast.tenant.pk)
    blob = snapshot.workflows[-1]["blob"]
    (store.path / "objects" / blob[:2] / blob[2:]).unlink()
    with tenant_scope(live_cast.tenant.pk):
        WorkflowContent.objects.filter(blob=blob).delete()  # the database would stand in for Git
    answer = page.get(f"{base(live_cast)}/{snapshot.pk}/download/")
    assert answer.status_code >= 400 and "SNAP_00" in answer.content.decode()


def test_the_page_asks_whether_what_is_restored_becomes_the_approved_version(
    page: Client, live_cast: Any, n8n: Any, environment: Environment, capture: Any, run_operations: Any
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    good = capture()
    n8n.edit(made[1]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    mixed = capture()
    where = f"{base(live_cast)}/{mixed.pk}/restore/"
    shown = page.get(where).content.decode()
    assert re.search(r'name="approve"[^>]* checked', shown)
    assert "Restored, but not approved" in shown and "so: Invoices." in " ".join(shown.split())
    n8n.edit(made[1]["id"], nodes=workflow(url="https://other.example")["nodes"])
    asked = {"overwrite_existing": "on", "approve": "on", "reason": "Back to what ran", "typed": "Production"}
    job = page.post(where, asked)
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    done = page.get(job["Location"]).content.decode()
    assert "1 workflow became the approved version" in " ".join(done.split())
    assert "Somebody who may approve has to say so: invoices" in done
    assert page.post(f"{base(live_cast)}/{good.pk}/restore/", asked).status_code == 302
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    rows = approved_and_seen(environment)
    assert rows["orders"][0] == rows["orders"][1] and rows["invoices"][0] == rows["invoices"][1]


def approved_and_seen(environment: Environment) -> dict[str, tuple[str | None, str | None]]:
    with tenant_scope(environment.tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment=environment)
        found = rows.values_list("canonical_workflow__key", "git_content_hash", "env_content_hash")
        return {key: (approved, seen) for key, approved, seen in found}
