"""The runbook's own commands, as they are written, against a running console: bash, curl, jq and psql."""

from __future__ import annotations

import csv
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from tests.runbook.answers import Answer
from tests.runbook.estate import BLOCKS, FOREIGN, NOT_YET, Estate, Shell, held_by
from workflows.models import Execution, WorkflowEnvMap

pytestmark = [pytest.mark.console, pytest.mark.xdist_group("runbook")]


def test_every_block_is_accounted_for() -> None:
    """A block is run below, or named as another part's."""
    run = set(held_by())
    assert run.isdisjoint(NOT_YET) and run | set(NOT_YET) | set(FOREIGN) == set(BLOCKS)


def test_health_and_database_checks(estate: Estate, shell: Shell) -> None:
    shell.run(1)
    said = shell.run(2)
    assert said.documents[0]["status"] == "ok" and said.table_with("count").values("count") == ["2"]
    said = shell.run(3)
    assert "environments" in said.table_with("tablename").values("tablename")
    assert ["Acme Robotics", "2"] in [[row["name"], row["env_count"]] for row in said.table_with("env_count").rows]
    said = shell.run(5)
    assert set(said.table_with("contype").values("contype")) >= {"p", "u"}
    assert set(said.table_with("policyname").values("tablename")) >= {"tenants", "platform_impersonation_sessions"}
    said = shell.run(7)
    assert sum(int(count) for count in said.table_with("execution_count").values("execution_count")) == 3
    assert said.table_with("status").rows == [{"status": "linked", "count": "20"}]
    shell.run(8)
    assert [document["status"] for document in shell.run(6).documents] == ["ok", "ok"]
    assert shell.asked.read_text() == "systemctl restart app-back\n"
    assert int(shell.run(65).table_with("total_connections").values("total_connections")[0]) > 1


def test_snapshots_are_listed_previewed_made_and_restored(estate: Estate, shell: Shell) -> None:
    ids = {
        "environment_id": estate.production,
        "env_id": estate.production,
        "target_environment_id": estate.production,
        "restored_environment_id": estate.production,
        "snapshot_id": estate.snapshot,
        "source_snapshot_id": estate.snapshot,
        "snapshot_uuid": estate.snapshot,
    }
    *picked, filtered = shell.run(12, **ids).documents
    assert estate.snapshot in {row["id"] for row in picked} and all(row["git_sha"] for row in picked)
    assert {row["snapshot_type"] for row in filtered["snapshots"]} == {"manual_backup"}
    made = shell.run(14, **ids).documents[0]["snapshot"]["id"]
    assert shell.run(15, new_snapshot_id=made).documents == []
    assert shell.run(15, new_snapshot_id=made).text.strip() == "8"

    edited, gone = estate.production_n8n.state()["workflows"][:2]
    estate.production_n8n.edit(edited["id"], name="Edited by hand")
    estate.production_n8n.delete_workflow(gone["id"])
    counted = {"new_workflows": 1, "updated_workflows": 1, "unchanged_workflows": 6}
    assert shell.run(13, **ids).documents == [counted]
    dry, done = shell.run(16, **ids).documents
    assert dry["restore"]["dry_run"] and not done["restore"]["dry_run"]
    assert restored(dry) == restored(done) == {"created": 1, "updated": 1, "failed": 0}
    assert {edited["name"], gone["name"]} <= {row["name"] for row in estate.production_n8n.state()["workflows"]}
    counted = {"new_workflows": 0, "updated_workflows": 0, "unchanged_workflows": 8}
    assert shell.run(13, **ids).documents == [counted]
    preview, again = shell.run(10, **ids).documents
    assert len(preview["preview"]["unchanged_workflows"]) == 8 and restored(again)["updated"] == 0
    said = shell.run(17, **ids)
    assert said.table_with("current_workflow_count").values("current_workflow_count") == ["8"]
    assert set(said.table_with("status").values("status")) == {"MATCH"}
    assert re.search(r"^8$", said.text, re.M)


def test_a_snapshot_is_put_back_from_git_by_hand(estate: Estate, shell: Shell, tmp_path: Path) -> None:
    lost = estate.capture(estate.production)
    with tenant_scope(estate.cast.tenant.pk):
        commit = Snapshot.objects.get(pk=lost).git_commit_sha
        Snapshot.objects.filter(pk=lost).delete()
    shell.environment |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{estate.git_store}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/your-org/n8n-ops-snapshots.git",
    }
    ids = {"commit_sha": commit, "environment_id": estate.production, "snapshot_id": lost}
    with removed_afterwards("snapshot_recovery.json"):
        assert lost in shell.run(18, **ids)
        said = shell.run(19, folder=tmp_path / "n8n-ops-snapshots", **ids)
        assert said.text.splitlines()[:2] == ["8", '"manual_backup"']
        assert "INSERT 0 1" in shell.run(20)
    found = shell.run(21, snapshot_id=lost).documents[0]["snapshot"]
    assert (found["id"], len(found["workflows"])) == (lost, 8)
    body = {"snapshot_id": lost, "dry_run": False, "overwrite_existing": True}
    assert restored(estate.post(f"/restore/{estate.production}/execute", body))["failed"] == 0


def test_a_failed_promotion_is_looked_into_and_rolled_back_by_hand(estate: Estate, shell: Shell) -> None:
    keys = estate.keys()
    estate.production_n8n.fault(kind="status", method="POST", path="/workflows$", status=400, message="no", nth=2)
    failed = estate.failing_promotion(keys[:2])
    estate.production_n8n.clear_faults()
    pre = failed["execution_result"]["snapshot_ids"]["pre_promotion"]
    ids = {
        "failed_promotion_id": failed["id"],
        "promotion_id": failed["id"],
        "pre_promotion_snapshot_id": pre,
        "target_environment_id": estate.production,
        "environment_id": estate.production,
    }
    (found,) = (row for row in shell.run(22).tables[0].rows if row["id"] == failed["id"])
    assert json.loads(found["error_details"])["code"] == "PROMO_002"
    (rolled,) = shell.run(23, **ids).tables[0].rows
    assert (rolled["rollback_status"], rolled["rollback_count"], rolled["snapshot_used"]) == ("success", "1", pre)
    assert re.findall(r"workflows: (\d+)", shell.run(24, **ids).text) == ["8", "8"]
    shell.run(25, **ids)
    assert restored(shell.run(27, **ids).documents[0])["failed"] == 0


def test_a_finished_promotion_is_taken_back(estate: Estate, shell: Shell) -> None:
    done = estate.promotion(estate.keys()[2:3])
    assert done["status"] == "COMPLETED", done
    pre = done["execution_result"]["snapshot_ids"]["pre_promotion"]
    ids = {
        "target_environment_id": estate.production,
        "restored_environment_id": estate.production,
        "environment_id": estate.production,
        "promotion_id": done["id"],
        "promotion_id_to_rollback": done["id"],
        "pre_promotion_snapshot_id": pre,
    }
    (found,) = (row for row in shell.run(28, **ids).tables[0].rows if row["id"] == done["id"])
    assert (found["pre_snapshot_id"], found["source_env"], found["target_env"]) == (pre, "Staging", "Production")
    assert shell.run(11, **ids).tables[0].rows == [{"name": "Production", "workflow_count": "9"}]
    recent, extracted = shell.run(9, **ids).tables
    assert {estate.snapshot, pre} <= set(recent.values("id"))
    assert len(json.loads(extracted.values("workflow_data")[0])) == 8
    assert re.search(r"^[0-9a-f-]{36}$", shell.run(29, returned_snapshot_id=pre, **ids).text, re.M)
    preview, done = shell.run(30, **ids).documents
    assert len(preview["preview"]["unchanged_workflows"]) == 8 and restored(done)["failed"] == 0
    workflow = mapped(estate)
    said = shell.run(31, workflow_id=workflow, **ids)
    assert said.tables[0].values("current_hash")
    test = said.documents[0]["test"]
    assert test["environment_id"] == estate.production and test["status"] in ("passed", "incomplete"), test
    assert test["checks"][0]["check"] == "workflow" and not test["ran"] and test["why_not_run"]
    assert [run["status"] for run in test["last_executions"]] == ["success"] * 3
    again = estate.promotion(estate.keys()[3:4])
    assert again["status"] == "COMPLETED", again
    ids["promotion_id"] = again["id"]
    ids["pre_promotion_snapshot_id"] = again["execution_result"]["snapshot_ids"]["pre_promotion"]
    assert shell.run(26, **ids).documents[0]["promotion"]["status"] == "ROLLED_BACK"


def test_drift_is_read_and_settled_one_by_one(estate: Estate, shell: Shell) -> None:
    first, second, third = estate.drift(3)[:3]
    ids = {"affected_environment_id": estate.production, "engineer_user_id": str(estate.cast.admin.pk)}
    found = {row["id"]: row for row in shell.run(33).tables[0].rows}
    assert {first, second, third} <= set(found) and json.loads(found[first]["changes"])
    picked, diff = shell.run(34, incident_id=first).documents
    assert picked["severity"] == found[first]["severity"] and picked["changes"] and diff
    (settled,) = shell.run(35, incident_id=first, **ids).tables[0].rows
    assert settled["git_content_hash"] == settled["env_content_hash"] and settled["incident_state"] == "RECONCILED"
    assert shell.run(36, incident_id=second, **ids).documents[-1] == "STABILIZED"
    (incident,) = (document["incident"] for document in shell.run(37, incident_id=third, **ids).documents)
    assert incident["incident_state"] == "ACKNOWLEDGED" and incident["assigned_to"]
    said = shell.run(38, incident_id=first, **ids)
    assert said.tables[0].values("drift_status") == ["NO_DRIFT"]
    assert said.documents[0]["incident"]["incident_state"] == "CLOSED"
    assert shell.run(45, incident_id=third).documents[0]["incident"]["incident_state"] == "STABILIZED"


def test_drift_is_settled_in_bulk_and_promotions_are_free_again(estate: Estate, shell: Shell) -> None:
    from drift.models import DriftIncident

    waiting = estate.promotion(estate.keys()[:1], execute=False)
    incidents = estate.drift(2)
    with tenant_scope(estate.cast.tenant.pk):
        DriftIncident.objects.filter(pk__in=incidents).update(
            severity="critical", ttl_expires_at="2026-01-01T00:00:00Z"
        )
    with removed_afterwards("active_drift_incidents.csv") as export:
        shell.run(39)
        assert set(incidents) <= {row["id"] for row in csv.DictReader(export.read_text().splitlines())}
    overdue = shell.run(43).tables[0]
    assert set(incidents) <= set(overdue.values("id")) and set(overdue.values("enforce_ttl")) == {"t"}
    blocking = shell.run(46, src=estate.staging, tgt=estate.production, promotion_id=waiting["id"], loop=True)
    assert set(incidents) <= {row["id"] for row in blocking.documents[0]}
    assert blocking.documents[1]["error"]["code"] == "PROMO_003"

    # By an admin without a role; and what was done is done: the same again changes nothing and refuses nothing.
    for caller in (shell.as_outsider("Carrier outage INC-881, putting production back"), nullcontext()):
        with caller:
            made = shell.run(40, loop=True)
            assert [document["snapshot"]["environment_id"] for document in answered(made)] == [estate.production]
            for document in answered(shell.run(41, loop=True)):
                assert document["incident"]["incident_state"] == "STABILIZED", document
    counted = shell.run(42).tables[0].rows
    assert {"critical", "STABILIZED"} in [{row["severity"], row["incident_state"]} for row in counted]
    one = estate.drift(1)[0]
    assert shell.run(44, incident_id=one).documents[0]["incident"]["incident_state"] == "RECONCILED"
    free, done = shell.run(46, src=estate.staging, tgt=estate.production, promotion_id=waiting["id"]).documents
    assert free == [] and done["promotion"]["status"] == "COMPLETED"


def test_emergency_commands(estate: Estate, shell: Shell) -> None:
    with tenant_scope(estate.cast.tenant.pk):
        running = Operation.objects.create(
            tenant=estate.cast.tenant, kind="snapshots.capture", status="RUNNING", params={}, idempotency_key="runbook"
        )
    assert "UPDATE 1" in shell.run(61)
    with tenant_scope(estate.cast.tenant.pk):
        assert Operation.objects.get(pk=running.pk).status == "FAILED"
    said = shell.run(62)
    assert said.documents[0]["stopped"] >= 1
    assert set(said.tables[0].values("is_running")) == {"f"} and len(said.tables[0].rows) == 2
    shell.run(58, loop=True)
    assert len(shell.run(59).documents) == 1


def test_the_environment_of_the_guide_brings_the_client_that_fits(estate: Estate, tmp_path: Path) -> None:
    manage = f"{sys.executable} {Path(__file__).parents[2] / 'manage.py'}"
    script = f'eval "$({manage} dburl --env)" && pg_dump --version && psql "$DATABASE_URL" -Atc "SHOW server_version"'
    said = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    client, server = said.splitlines()
    assert re.findall(r"\d+", client)[0] == re.findall(r"\d+", server)[0]


def test_the_database_is_dumped_whole(estate: Estate, shell: Shell) -> None:
    with removed_afterwards("emergency_backup_*"):
        shell.run(64)
        (plain,), (packed,) = (list(Path("/tmp").glob(f"emergency_backup_*{end}")) for end in (".sql", ".sql.gz"))
        assert shell.asked.read_text() == f"aws s3 cp {packed} s3://your-backup-bucket/emergency/\n"
        dump = plain.read_text()
        assert "PostgreSQL database dump complete" in gzip.decompress(packed.read_bytes()).decode()
    rows = re.findall(r"COPY public\.tenants .*?FROM stdin;\n(.*?)\n\\\.", dump, re.S)[0].splitlines()
    assert len(rows) == 2 and any("Acme Robotics" in row for row in rows)


def mapped(estate: Estate) -> str:
    """The workflow that has run in production, as the runbook's queries name it."""
    with tenant_scope(estate.cast.tenant.pk):
        run = Execution.objects.filter(environment_id=estate.production).latest("number")
        found = WorkflowEnvMap.objects.get(environment_id=estate.production, env_workflow_id=run.env_workflow_id)
        return str(found.canonical_workflow_id)


def restored(answer: dict[str, Any]) -> dict[str, int]:
    """How many workflows a restore made, changed and failed at."""
    return {name: len(answer["restore"][name]) for name in ("created", "updated", "failed")}


def answered(said: Answer) -> list[dict[str, Any]]:
    """The calls of a loop; psql ends its list with an empty line, for which the last call is refused."""
    *calls, last = said.documents
    assert "error" in last
    return calls


@contextmanager
def removed_afterwards(pattern: str) -> Iterator[Path]:
    """What a block leaves in /tmp, which is where the runbook puts things."""
    folder = Path("/tmp")
    try:
        yield folder / pattern
    finally:
        for path in folder.glob(pattern):
            path.unlink()
