"""What captures and drift publish: once, in the transaction that puts it on record."""

from __future__ import annotations

from typing import Any

from outbox.tests.reading import published
from tenants.scope import tenant_scope
from workflows.n8n.report import ConnectionReport
from workflows.services import store_connection_report


def test_captures_and_what_they_find(site: Any) -> None:
    site.edit("Orders", text="something else")
    site.capture()
    ((_, found),) = published(site.tenant.pk, "drift.found")
    incident = site.incident()
    assert (found.environment_id, found.incident_ids) == (site.environment.pk, [incident.pk])
    assert found.severities == {incident.severity: 1}
    site.capture()
    assert len(published(site.tenant.pk, "drift.found")) == 1, "the same drift is found once"
    captured = [event for _, event in published(site.tenant.pk, "capture.completed")]
    assert len(captured) == len({event.snapshot_id for event in captured}) == 3
    assert {event.workflow_count for event in captured} == {3}


def test_a_capture_that_fails(site: Any) -> None:
    site.n8n.fault(kind="status", status=401)
    assert site.capture().status == "FAILED"
    ((_, failed),) = published(site.tenant.pk, "capture.failed")
    ((_, job),) = published(site.tenant.pk, "job.failed")
    assert (failed.environment_id, failed.job_id) == (site.environment.pk, job.job_id)
    assert failed.message and failed.code == job.code


def test_an_environment_that_goes_and_comes_back_is_news_once_each(site: Any) -> None:
    def test(ok: bool) -> None:
        with tenant_scope(site.tenant.pk):
            store_connection_report(
                environment_id=site.environment.pk,
                report=ConnectionReport(ok=ok),
                key_token=site.environment.api_key_encrypted,
            )

    for ok in (True, False, False, True, True):
        test(ok)
    names = [name for name, _ in published(site.tenant.pk, "environment.reachable", "environment.unreachable")]
    assert names == ["environment.unreachable", "environment.reachable"]
