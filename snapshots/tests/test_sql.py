"""What the runbook reads and writes by ``psql``: whole snapshots, by the operator's role."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from snapshots import maintenance, repository, services, sql_contents
from snapshots.models import Snapshot, WorkflowContent
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Environment, WorkflowEnvMap

from .conftest import make_environment, workflow

PUT_BACK = r"""
psql "$DATABASE_URL" -v ON_ERROR_STOP=1 << EOF
INSERT INTO snapshots (
  id,
  environment_id,
  snapshot_type,
  workflows,
  git_commit_sha,
  created_by,
  created_at
)
SELECT
  (data->>'id')::uuid,
  (data->>'environment_id')::uuid,
  (data->>'snapshot_type')::snapshot_type,
  data->'workflows',
  data->>'git_commit_sha',
  (data->>'created_by')::uuid,
  (data->>'created_at')::timestamptz
FROM (
  SELECT '$(cat "$FILE")'::jsonb as data
) subquery;
EOF
"""
EXTRACT = (
    "SELECT snapshot_type, workflows::jsonb AS workflow_data, created_at FROM snapshots WHERE environment_id = %s"
    " AND snapshot_type = 'pre_promotion' ORDER BY created_at DESC LIMIT 1"
)


@pytest.fixture
def operator() -> Any:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as connection:
        yield connection


def contents_kept(tenant_id: Any) -> set[str]:
    with tenant_scope(tenant_id):
        return set(WorkflowContent.objects.values_list("blob", flat=True))


def test_the_runbooks_extraction_gives_whole_workflows(
    capture: Callable[..., Any], n8n: Any, environment: Environment, operator: Any
) -> None:
    n8n.seed([workflow("Orders", url="https://example.org/it's"), workflow("Invoices")])
    snapshot = capture(snapshot_type="pre_promotion")
    kind, extracted, _ = operator.execute(EXTRACT, [environment.pk]).fetchone()
    assert kind == "pre_promotion"
    assert [w["name"] for w in extracted] == ["Invoices", "Orders"]
    assert {w["key"]: w["content"] for w in extracted} == {e.key: c for e, c in services.contents(snapshot)}
    with tenant_scope(environment.tenant_id):
        stored = Snapshot.objects.get(pk=snapshot.pk).workflows
    assert [{k: v for k, v in w.items() if k != "content"} for w in extracted] == stored, "the row itself stays small"


def test_a_content_is_kept_once_for_all_snapshots_and_goes_with_the_last(
    capture: Callable[..., Any], n8n: Any, environment: Environment
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    first = capture()
    capture()
    assert contents_kept(environment.tenant_id) == {entry["blob"] for entry in first.workflows}
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    last = capture()
    assert len(contents_kept(environment.tenant_id)) == 3
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.exclude(pk=last.pk).delete()
    assert maintenance.look_after(environment.tenant_id, full=False)["contents_dropped"] == 1
    assert contents_kept(environment.tenant_id) == {entry["blob"] for entry in last.workflows}


def test_snapshots_of_before_get_theirs_by_the_stores_care(
    capture: Callable[..., Any], n8n: Any, environment: Environment
) -> None:
    n8n.seed([workflow("Orders"), workflow("Invoices")])
    snapshot = capture()
    with tenant_scope(environment.tenant_id):
        WorkflowContent.objects.all().delete()
    assert maintenance.look_after(environment.tenant_id, full=False)["contents_kept"] == 2
    assert contents_kept(environment.tenant_id) == {entry["blob"] for entry in snapshot.workflows}


def test_a_large_capture_does_not_wait_for_it(
    capture: Callable[..., Any], n8n: Any, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_contents, "AT_ONCE_BYTES", 0)
    n8n.seed([workflow("Orders"), workflow("Invoices")])
    snapshot = capture()
    assert contents_kept(environment.tenant_id) == set()
    assert (sql_contents.keep_recent(), sql_contents.keep_recent()) == (2, 0)
    assert contents_kept(environment.tenant_id) == {entry["blob"] for entry in snapshot.workflows}


def test_another_tenant_sees_none_of_them(
    live_cast: Any, sandbox_server: Any, capture: Callable[..., Any], n8n: Any, environment: Environment
) -> None:
    n8n.seed([workflow("Orders")])
    capture()
    make_environment(live_cast.other_tenant, n8n)
    assert contents_kept(live_cast.other_tenant.pk) == set()
    with platform_scope():
        assert WorkflowContent.objects.count() == 1


def test_what_postgresql_cannot_read_as_json_hides_nothing_else(
    capture: Callable[..., Any], n8n: Any, environment: Environment, operator: Any
) -> None:
    n8n.seed([workflow("Orders"), workflow("Odd")])
    capture(snapshot_type="pre_promotion")
    with tenant_scope(environment.tenant_id):
        odd = next(w for w in Snapshot.objects.get().workflows if w["name"] == "Odd")
        WorkflowContent.objects.filter(blob=odd["blob"]).update(content='{"name": "a NUL \\u0000"}')
    _, extracted, _ = operator.execute(EXTRACT, [environment.pk]).fetchone()
    found = {w["name"]: w["content"] for w in extracted}
    assert found["Odd"] is None and found["Orders"]["name"] == "Orders"


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_runbooks_insert_brings_a_snapshot_back_whole(
    capture: Callable[..., Any], n8n: Any, environment: Environment, operator: Any, tmp_path: Path
) -> None:
    n8n.seed([workflow("It's"), workflow("Back\\slash $(date) `id`")])
    snapshot = capture(snapshot_type="pre_promotion", description="Before Tuesday's release")
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.all().delete()
    _, manifest = repository.store_for(environment.tenant_id).read_manifest(environment.pk, snapshot.pk)  # type: ignore[misc]
    (tmp_path / "recovery.json").write_bytes(manifest)
    surroundings = {**os.environ, "DATABASE_URL": os.environ["DATABASE_OPERATOR_URL"]}
    surroundings["FILE"] = str(tmp_path / "recovery.json")
    done = subprocess.run(["bash", "-c", PUT_BACK], env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "INSERT 0 1" in done.stdout, done.stderr
    assert services.name_commits() == 1
    again = services.snapshot_by_id(environment.tenant_id, snapshot.pk)
    for field in Snapshot._meta.concrete_fields:
        if field.name not in ("verified_at", "verification"):
            assert getattr(again, field.attname) == getattr(snapshot, field.attname), field.name
    _, extracted, _ = operator.execute(EXTRACT, [environment.pk]).fetchone()
    assert {w["name"]: w["content"]["name"] for w in extracted} == {n: n for n in ("It's", "Back\\slash $(date) `id`")}


def test_what_the_view_gives_can_be_inserted_again(
    capture: Callable[..., Any], n8n: Any, environment: Environment, operator: Any
) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture(description="keep me")
    row = operator.execute("SELECT row_to_json(s)::text FROM snapshots s").fetchone()[0]
    operator.execute("DELETE FROM snapshots")
    operator.execute(
        "INSERT INTO snapshots SELECT * FROM json_populate_record(NULL::runbook.snapshots, %s::json)", [row]
    )
    again = services.snapshot_by_id(environment.tenant_id, snapshot.pk)
    assert again.workflows == snapshot.workflows and again.description == "keep me"
    assert "content" not in json.dumps([list(w) for w in again.workflows]).replace("content_hash", "")


def test_what_git_has_lost_is_read_from_the_database(
    capture: Callable[..., Any], n8n: Any, environment: Environment
) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    (before,) = services.load_bytes(snapshot)
    store = repository.store_for(environment.tenant_id)
    blob = snapshot.workflows[0]["blob"]
    (store.path / "objects" / blob[:2] / blob[2:]).unlink()
    assert list(services.load_bytes(snapshot)) == [before]
    assert services.verify_snapshot(snapshot).status == "damaged", "that Git lost it is said all the same"
    shutil.rmtree(store.path)
    assert list(services.load_bytes(snapshot)) == [before]


def test_the_runbook_counts_the_workflows_that_are_there(
    capture: Callable[..., Any], n8n: Any, environment: Environment, operator: Any
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices"), workflow("Stock")])
    capture()
    n8n.delete_workflow(made[0]["id"])
    snapshot = capture()
    with tenant_scope(environment.tenant_id):
        gone = WorkflowEnvMap.objects.get(env_name="Orders")
        assert gone.status == "missing"
        WorkflowEnvMap.objects.filter(env_name="Stock").update(status="deleted")
    count = "SELECT COUNT(*) FROM workflow_env_map WHERE environment_id = %s AND status != 'deleted'"
    assert operator.execute(count, [environment.pk]).fetchone() == (snapshot.workflow_count - 1,)
    joined = "SELECT cw.name FROM workflow_env_map wem JOIN canonical_workflows cw ON wem.canonical_workflow_id = cw.id"
    found = {name for (name,) in operator.execute(f"{joined} WHERE wem.id = %s", [gone.pk]).fetchall()}
    assert found == {"Orders"}, "its drift still finds the row"
