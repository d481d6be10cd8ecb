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
from workflows import identity
from workflows.models import WorkflowEnvMap

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_first_capture_is_the_baseline_and_no_drift(place: Any) -> None:
    assert place.incidents() == []
    outcome = place.check()
    assert outcome.status == "COMPLETED"
    assert outcome.result["changed"] is False


def test_a_check_of_what_has_not_changed_stores_nothing_and_asks_only_for_etags(place: Any) -> None:
    place.check()
    with tenant_scope(place.tenant.pk):
        before = Snapshot.objects.count()
    again = place.check()
    with tenant_scope(place.tenant.pk):
        assert Snapshot.objects.count() == before
    assert again.result["unchanged_pages"] == again.result["pages"] == 1


def test_bytes_that_git_has_prove_nothing_once_the_rows_say_otherwise(place: Any) -> None:
    place.capture()
    with tenant_scope(place.tenant.pk):
        row = WorkflowEnvMap.objects.get(env_name="Orders")
        moved_on = {**row.fingerprint, "body": "0" * 64}
        WorkflowEnvMap.objects.filter(pk=row.pk).update(fingerprint=moved_on, env_content_hash="0" * 64)
    outcome = place.check()
    assert outcome.result["changed"] is True
    assert "Orders" in outcome.result["reason"]


def test_an_edit_becomes_one_incident_that_says_what_changed(place: Any) -> None:
    place.edit("Orders", text="changed")
    outcome = place.check()
    assert outcome.status == "COMPLETED", outcome.error_message
    assert outcome.result["drifted"] == 1
    incident = place.incident()
    row = place.row("Orders")
    assert (incident.kind, incident.incident_state, incident.severity) == ("modified", "OPEN", "high")
    summary = incident.drift_snapshot["diff_summary"]
    assert summary["counts"]["nodes_changed"] == 1
    assert any("Step" in sentence for sentence in summary["sentences"])
    assert incident.drift_snapshot["git_content_hash"] == row.git_content_hash
    assert incident.drift_snapshot["env_content_hash"] == row.env_content_hash == incident.drifted_hash
    assert incident.drift_snapshot["full_diff"]["changes"]
    assert incident.ttl_expires_at - incident.created_at >= timedelta(hours=23, minutes=59)


def test_the_same_drift_seen_again_is_the_same_incident(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    first = place.incident()
    place.check()
    place.capture()
    again = place.incident()
    assert again.pk == first.pk
    assert again.last_detected_at > first.last_detected_at
    assert again.drift_snapshot == first.drift_snapshot


def test_a_further_edit_refreshes_the_incident_and_never_buys_time(place: Any) -> None:
    place.edit("Invoices", text="changed")
    place.check()
    first = place.incident()
    place.edit("Invoices", nodes=workflow("Invoices", node={"type": "n8n-nodes-base.httpRequest"})["nodes"])
    place.check()
    again = place.incident()
    assert again.pk == first.pk
    assert again.drifted_hash != first.drifted_hash
    assert "http" in again.drift_snapshot["diff_summary"]["touches"]
    assert again.severity == "high"
    assert again.ttl_expires_at < first.ttl_expires_at


def test_drift_that_goes_away_closes_by_itself(place: Any) -> None:
    before = place.there("Orders")
    place.edit("Orders", text="changed")
    place.check()
    place.edit("Orders", nodes=before["nodes"])
    place.check()
    incident = place.incident()
    assert (incident.incident_state, incident.resolution_type) == ("CLOSED", "resolved_itself")
    place.edit("Orders", text="again")
    place.check()
    assert len(place.incidents()) == 2
    assert len(place.incidents(incident_state="OPEN")) == 1


def test_appeared_disappeared_and_switched(place: Any) -> None:
    place.seed(workflow("Stranger", active=True))
    place.n8n.delete_workflow(place.ids["Leads"])
    place.edit("Invoices", active=True)
    place.check()
    found = {i.workflow_env_map.env_name: i for i in place.incidents()}
    assert {name: i.kind for name, i in found.items()} == {
        "Stranger": "added",
        "Leads": "removed",
        "Invoices": "activation",
    }
    assert {name: i.severity for name, i in found.items()} == dict.fromkeys(found, "critical")
    assert found["Leads"].drift_snapshot["env_content_hash"] is None
    assert found["Stranger"].drift_snapshot["git_content_hash"] is None


def test_moving_a_node_is_no_drift(place: Any) -> None:
    nodes = place.there("Orders")["nodes"]
    nodes[1]["position"] = [900, 900]
    place.edit("Orders", nodes=nodes)
    assert place.check().result["changed"] is False
    assert place.incidents() == []


def test_an_ignored_workflow_does_not_drift(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    identity.ignore(tenant_id=place.tenant.pk, map_id=place.row("Orders").pk)
    place.check()
    incident = place.incident()
    assert (incident.incident_state, incident.resolution_type) == ("CLOSED", "ignored")


def test_a_draft_of_n8n_2_is_told_apart_from_what_runs(make_place: Any) -> None:
    place = make_place(profile="2.0")
    place.seed(workflow("Orders", active=True))
    place.capture()
    place.n8n.edit(place.ids["Orders"], draft=True, nodes=workflow("Orders", text="draft")["nodes"])
    place.check()
    incident = place.incident()
    assert (incident.kind, incident.aspect, incident.severity) == ("draft", "draft", "low")
    assert "Only the draft in the editor differs" in incident.drift_snapshot["diff_summary"]["sentences"][0]


def test_a_check_waits_for_whoever_writes(place: Any, live_cast: Any) -> None:
    place.edit("Orders", text="half-way through a promotion")
    operation = services.start_check(
        tenant_id=place.tenant.pk, environment_id=place.environment.pk, requested_by=live_cast.owner
    )
    operations.start(
        tenant_id=place.tenant.pk,
        kind="promotions.execute",
        title="Promote",
        params={},
        requested_by=None,
        exclusive_key=place.environment.write_lock,
    )
    assert "writing" in place.drive(operation).result["skipped"]
    assert place.incidents() == []
    with pytest.raises(CheckHeldBack):
        services.start_check(tenant_id=place.tenant.pk, environment_id=place.environment.pk, requested_by=None)


def test_an_unreachable_environment_is_drift_001(place: Any) -> None:
    place.n8n.change(api_keys=["another"])
    failed = place.check()
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_001")
    assert failed.error_details["details"]["cause"]["code"] == "N8N_010"
    with tenant_scope(place.tenant.pk):
        place.environment.refresh_from_db()
    assert place.environment.connection_status == "failed"


def test_drift_is_reported_even_if_git_cannot_be_read(place: Any, monkeypatch: Any) -> None:
    def broken(*_arguments: Any) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr("drift.contents.canonical_content", broken)
        place.edit("Orders", text="changed")
        place.check()
    incident = place.incident()
    assert "could not be read" in incident.drift_snapshot["diff_summary"]["sentences"][0]
    place.check()
    assert place.incident().drift_snapshot["diff_summary"]["counts"] == {"nodes_changed": 1}


def test_detection_reads_only_what_differs(place: Any, django_assert_max_num_queries: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    with django_assert_max_num_queries(40):
        detection.detect(None, environment=place.environment)


def test_two_looks_at_once_open_one_incident(place: Any, monkeypatch: Any) -> None:
    """The second look comes in while the first is reading Git."""
    place.edit("Orders", text="changed")
    read = detection.contents.both
    nested: list[Any] = []

    def slow(*arguments: Any) -> Any:
        if not nested:
            nested.append(True)
            nested.append(detection.detect(None, environment=place.environment))
        return read(*arguments)

    monkeypatch.setattr(detection.contents, "both", slow)
    place.check()
    assert nested[1]["opened"] == 1
    assert len(place.incidents()) == 1


def test_new_rules_move_the_clocks_of_standing_incidents(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    incident = place.incident()
    policies.save_policy(
        tenant_id=place.tenant.pk,
        enforce_ttl=True,
        block_on_active_drift=True,
        hours={"critical": 1, "high": 2, "medium": 3, "low": 4},
    )
    assert place.incident().ttl_expires_at == incident.created_at + timedelta(hours=2)
