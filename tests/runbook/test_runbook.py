"""The runbook's own commands, as they are written, against a running console: bash, curl, jq and psql."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from tests.runbook.estate import BLOCKS, NOT_YET, Estate, Shell

pytestmark = [pytest.mark.console, pytest.mark.xdist_group("runbook")]


def test_every_block_is_accounted_for() -> None:
    """A block is run below, or named as another part's."""
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    run = {int(n) for n in re.findall(r"shell\.run\((\d+)", source)}
    assert run.isdisjoint(NOT_YET) and run | set(NOT_YET) == set(BLOCKS)


def test_health_and_database_checks(estate: Estate, shell: Shell) -> None:
    assert '"status": "ok"' in shell.run(1)
    env = {"target_environment_id": estate.production, "restored_environment_id": estate.production}
    shell.run(2)
    shell.run(3)
    shell.run(5)
    shell.run(6)
    shell.run(4)
    assert "production" in shell.run(7, **env).lower()
    assert "Production" in shell.run(9, **env)
    shell.run(60)


def test_snapshots_are_listed_previewed_made_and_restored(estate: Estate, shell: Shell) -> None:
    ids = {
        "environment_id": estate.production,
        "env_id": estate.production,
        "target_environment_id": estate.production,
        "restored_environment_id": estate.production,
        "snapshot_id": estate.snapshot,
        "new_snapshot_id": estate.snapshot,
        "source_snapshot_id": estate.snapshot,
        "snapshot_uuid": estate.snapshot,
    }
    assert estate.snapshot in shell.run(10, **ids)
    assert '"unchanged_workflows": 8' in shell.run(11, **ids)
    assert '"id"' in shell.run(12, **ids)
    assert shell.run(13, **ids).strip() == "8"
    shell.run(14, **ids)
    shell.run(8, **ids)
    assert "DRIFT" not in shell.run(15, **ids)


def test_a_snapshot_is_put_back_from_git_by_hand(estate: Estate, shell: Shell) -> None:
    from tenants.scope import tenant_scope

    lost = estate.capture(estate.production)
    with tenant_scope(estate.cast.tenant.pk):
        commit = Snapshot.objects.get(pk=lost).git_commit_sha
        Snapshot.objects.filter(pk=lost).delete()
    root = next(Path(shell.folder.parents[0]).glob("console*/git/*.git"), None)
    repository = root or next(
        (Path(os.environ.get("TMPDIR", "/tmp"))).rglob(f"console*/git/{estate.cast.tenant.pk}.git")
    )
    shown = subprocess.run(
        ["git", "show", f"{commit}:snapshots/{estate.production}/{lost}.json"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    Path("/tmp/snapshot_recovery.json").write_text(shown.stdout)
    try:
        shell.run(16)
    finally:
        Path("/tmp/snapshot_recovery.json").unlink()
    assert lost in shell.run(17, snapshot_id=lost)
    body = {"snapshot_id": lost, "dry_run": False, "overwrite_existing": True}
    assert estate.post(f"/restore/{estate.production}/execute", body)


def test_a_failed_promotion_is_looked_into_and_rolled_back_by_hand(estate: Estate, shell: Shell) -> None:
    keys = estate.keys()
    estate.production_n8n.fault(kind="status", method="POST", path="/workflows$", status=400, message="no", nth=2)
    failed = estate.failing_promotion(keys[:2])
    estate.production_n8n.clear_faults()
    assert failed["status"] == "FAILED", failed
    pre = failed["execution_result"]["snapshot_ids"]["pre_promotion"]
    ids = {
        "failed_promotion_id": failed["id"],
        "promotion_id": failed["id"],
        "pre_promotion_snapshot_id": pre,
        "target_environment_id": estate.production,
        "environment_id": estate.production,
    }
    assert failed["id"] in shell.run(18)
    assert "success" in shell.run(19, **ids)
    said = shell.run(20, **ids)
    before, now = re.findall(r"workflows: (\d+)", said)
    assert before == now
    shell.run(21, **ids)
    shell.run(23, **ids)


def test_a_finished_promotion_is_taken_back(estate: Estate, shell: Shell) -> None:
    done = estate.promotion(estate.keys()[2:3])
    assert done["status"] == "COMPLETED", done
    ids = {
        "target_environment_id": estate.production,
        "environment_id": estate.production,
        "promotion_id": done["id"],
        "promotion_id_to_rollback": done["id"],
        "returned_snapshot_id": estate.snapshot,
        "pre_promotion_snapshot_id": done["execution_result"]["snapshot_ids"]["pre_promotion"],
    }
    assert done["id"] in shell.run(24, **ids)
    assert re.search(r"^[0-9a-f-]{36}$", shell.run(25, **ids), re.M)
    shell.run(26, **ids)
    again = estate.promotion(estate.keys()[3:4])
    assert again["status"] == "COMPLETED", again
    ids["promotion_id"] = again["id"]
    ids["pre_promotion_snapshot_id"] = again["execution_result"]["snapshot_ids"]["pre_promotion"]
    assert "ROLLED_BACK" in shell.run(22, **ids)


def test_drift_is_read_and_settled_one_by_one(estate: Estate, shell: Shell) -> None:
    first, second, third = estate.drift(3)[:3]
    ids = {"affected_environment_id": estate.production, "engineer_user_id": str(estate.cast.admin.pk)}
    assert first in shell.run(29)
    assert '"severity"' in shell.run(30, incident_id=first)
    assert "RECONCILED" in shell.run(31, incident_id=first, **ids)
    assert '"STABILIZED"' in shell.run(32, incident_id=second, **ids)
    assert "ACKNOWLEDGED" in shell.run(33, incident_id=third, **ids)
    assert "NO_DRIFT" in shell.run(34, incident_id=first, **ids)
    shell.run(41, incident_id=third)


def test_drift_is_settled_in_bulk_and_promotions_are_free_again(estate: Estate, shell: Shell) -> None:
    from drift.models import DriftIncident

    waiting = estate.promotion(estate.keys()[:1], execute=False)
    incidents = estate.drift(2)
    with tenant_scope(estate.cast.tenant.pk):
        DriftIncident.objects.filter(pk__in=incidents).update(
            severity="critical", ttl_expires_at="2026-01-01T00:00:00Z"
        )
    shell.run(35)
    assert incidents[0] in shell.run(39)
    shell.run(36, loop=True)
    shell.run(37, loop=True)
    assert "STABILIZED" in shell.run(38)
    one = estate.drift(1)[0]
    shell.run(40, incident_id=one)
    said = shell.run(42, src=estate.staging, tgt=estate.production, promotion_id=waiting["id"])
    assert "[]" in said


def test_emergency_commands(estate: Estate, shell: Shell) -> None:
    shell.run(57)
    assert " f" in shell.run(58)
    said = shell.run(54)
    assert "Orphaned environments" in said and "Checking restore" in said
    shell.run(55)
