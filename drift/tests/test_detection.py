"""From an edit behind our back to an incident, and away again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from drift import detection, policies, services
from drift.errors import CheckHeldBack
from operations import services as operations
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from tests.pressing import pressed_twice
from workflows import identity
from workflows.models import WorkflowEnvMap

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_first_capture_is_the_baseline_and_no_drift(site: Any) -> None:
    assert site.incidents() == []
    outcome = site.check()
    assert outcome.status == "COMPLETED"
    assert outcome.result["changed"] is False


def test_a_check_of_what_has_not_changed_stores_nothing_and_asks_only_for_etags(site: Any) -> None:
    site.check()
    with tenant_scope(site.tenant.pk):
        before = Snapshot.objects.count()
    again = site.check()
    with tenant_scope(site.tenant.pk):
        assert Snapshot.objects.count() == before
    assert again.result["unchanged_pages"] == again.result["pages"] == 1


def test_bytes_that_git_has_prove_nothing_once_the_rows_say_otherwise(site: Any) -> None:
    site.capture()
    with tenant_scope(site.tenant.pk):
        row = WorkflowEnvMap.objects.get(env_name="Orders")
        moved_on = {**row.fingerprint, "body": "0" * 64}
        WorkflowEnvMap.objects.filter(pk=row.pk).update(fingerprint=moved_on, env_content_hash="0" * 64)
    outcome = site.check()
    assert outcome.result["changed"] is True
    assert "Orders" in outcome.result["reason"]


def test_an_edit_becomes_one_incident_that_says_what_changed(site: Any) -> None:
    site.edit("Orders", text="changed")
    outcome = site.check()
    assert outcome.status == "COMPLETED", outcome.error_message
    assert outcome.result["drifted"] == 1
    incident = site.incident()
    row = site.row("Orders")
    assert (incident.kind, incident.incident_state, incident.severity) == ("modified", "OPEN", "high")
    summary = incident.drift_snapshot["diff_summary"]
    assert summary["counts"]["nodes_changed"] == 1
    assert any("Step" in sentence for sentence in summary["sentences"])
    assert incident.drift_snapshot["git_content_hash"] == row.git_content_hash
    assert incident.drift_snapshot["env_content_hash"] == row.env_content_hash == incident.drifted_hash
    assert incident.drift_snapshot["full_diff"]["changes"]
    assert incident.ttl_expires_at - incident.created_at >= timedelta(hours=23, minutes=59)


def test_the_same_drift_seen_again_is_the_same_incident(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    first = site.incident()
    site.check()
    site.capture()
    again = site.incident()
    assert again.pk == first.pk
    assert again.last_detected_at > first.last_detected_at
    assert again.drift_snapshot == first.drift_snapshot


def test_a_further_edit_refreshes_the_incident_and_never_buys_time(site: Any) -> None:
    site.edit("Invoices", text="changed")
    site.check()
    first = site.incident()
    site.edit("Invoices", nodes=workflow("Invoices", node={"type": "n8n-nodes-base.httpRequest"})["nodes"])
    site.check()
    again = site.incident()
    assert again.pk == first.pk
    assert again.drifted_hash != first.drifted_hash
    assert "http" in again.drift_snapshot["diff_summary"]["touches"]
    assert again.severity == "high"
    assert again.ttl_expires_at < first.ttl_expires_at


def test_drift_that_goes_away_closes_by_itself(site: Any) -> None:
    before = site.there("Orders")
    site.edit("Orders", text="changed")
    site.check()
    site.edit("Orders", nodes=before["nodes"])
    site.check()
    incident = site.incident()
    assert (incident.incident_state, incident.resolution_type) == ("CLOSED", "resolved_itself")
    site.edit("Orders", text="again")
    site.check()
    assert len(site.incidents()) == 2
    assert len(site.incidents(incident_state="OPEN")) == 1


def test_appeared_disappeared_and_switched(site: Any) -> None:
    site.seed(workflow("Stranger", active=True))
    site.n8n.delete_workflow(site.ids["Leads"])
    site.edit("Invoices", active=True)
    site.check()
    found = {i.workflow_env_map.env_name: i for i in site.incidents()}
    assert {name: i.kind for name, i in found.items()} == {
        "Stranger": "added",
        "Leads": "removed",
        "Invoices": "activation",
    }
    assert {name: i.severity for name, i in found.items()} == dict.fromkeys(found, "critical")
    assert found["Leads"].drift_snapshot["env_content_hash"] is None
    assert found["Stranger"].drift_snapshot["git_content_hash"] is None


def test_moving_a_node_is_no_drift(site: Any) -> None:
    nodes = site.there("Orders")["nodes"]
    nodes[1]["position"] = [900, 900]
    site.edit("Orders", nodes=nodes)
    assert site.check().result["changed"] is False
    assert site.incidents() == []


def test_an_ignored_workflow_does_not_drift(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    identity.ignore(tenant_id=site.tenant.pk, map_id=site.row("Orders").pk)
    site.check()
    incident = site.incident()
    assert (incident.incident_state, incident.resolution_type) == ("CLOSED", "ignored")


def test_a_draft_of_n8n_2_is_told_apart_from_what_runs(make_site: Any) -> None:
    site = make_site(profile="2.0")
    site.seed(workflow("Orders", active=True))
    site.capture()
    site.n8n.edit(site.ids["Orders"], draft=True, nodes=workflow("Orders", text="draft")["nodes"])
    site.check()
    incident = site.incident()
    assert (incident.kind, incident.aspect, incident.severity) == ("draft", "draft", "low")
    assert "Only the draft in the editor differs" in incident.drift_snapshot["diff_summary"]["sentences"][0]


def test_a_check_waits_for_whoever_writes(site: Any, live_cast: Any) -> None:
    site.edit("Orders", text="half-way through a promotion")
    operation = services.start_check(
        tenant_id=site.tenant.pk, environment_id=site.environment.pk, requested_by=live_cast.owner
    )
    operations.start(
        tenant_id=site.tenant.pk,
        kind="promotions.execute",
        title="Promote",
        params={},
        requested_by=None,
        exclusive_key=site.environment.write_lock,
    )
    assert "writing" in site.drive(operation).result["skipped"]
    assert site.incidents() == []
    with pytest.raises(CheckHeldBack):
        services.start_check(tenant_id=site.tenant.pk, environment_id=site.environment.pk, requested_by=None)


def test_an_unreachable_environment_is_drift_001(site: Any) -> None:
    site.n8n.change(api_keys=["another"])
    failed = site.check()
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_001")
    assert failed.error_details["details"]["cause"]["code"] == "N8N_010"
    with tenant_scope(site.tenant.pk):
        site.environment.refresh_from_db()
    assert site.environment.connection_status == "failed"


def test_drift_is_reported_even_if_git_cannot_be_read(site: Any, monkeypatch: Any) -> None:
    def broken(*_arguments: Any) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr("drift.contents.canonical_content", broken)
        site.edit("Orders", text="changed")
        site.check()
    incident = site.incident()
    assert "could not be read" in incident.drift_snapshot["diff_summary"]["sentences"][0]
    site.check()
    assert site.incident().drift_snapshot["diff_summary"]["counts"] == {"nodes_changed": 1}


def test_detection_reads_only_what_differs(site: Any, django_assert_max_num_queries: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    with django_assert_max_num_queries(40):
        detection.detect(None, environment=site.environment)


def test_two_looks_at_once_open_one_incident(site: Any, monkeypatch: Any) -> None:
    """The second look comes in while the first is reading Git."""
    site.edit("Orders", text="changed")
    read = detection.contents.both
    nested: list[Any] = []

    def slow(*arguments: Any) -> Any:
        if not nested:
            nested.append(True)
            nested.append(detection.detect(None, environment=site.environment))
        return read(*arguments)

    monkeypatch.setattr(detection.contents, "both", slow)
    site.check()
    assert nested[1]["opened"] == 1
    assert len(site.incidents()) == 1


def test_new_rules_move_the_clocks_of_standing_incidents(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    incident = site.incident()
    policies.save_policy(
        tenant_id=site.tenant.pk,
        enforce_ttl=True,
        block_on_active_drift=True,
        hours={"critical": 1, "high": 2, "medium": 3, "low": 4},
    )
    assert site.incident().ttl_expires_at == incident.created_at + timedelta(hours=2)


def test_two_presses_at_the_same_moment_are_one_check(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"tenant_id": site.tenant.pk, "environment_id": site.environment.pk, "requested_by": None}
    first, second = pressed_twice(monkeypatch, services, "_check_to_come", lambda: services.start_check(**asked).pk)
    assert first == second
