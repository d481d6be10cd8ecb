"""A worker that dies anywhere while it settles drift leaves nothing half-done and does nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core import clock
from drift import services
from operations import engine, handlers
from operations.models import Operation
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


class Crash(BaseException):
    """Stands for kill -9: nothing catches it."""


def _dies_at_each_boundary(site: Any, operation: Operation) -> int:
    """Let the worker die once at every boundary that the job has, one death more each time; how many deaths."""
    deaths = 0
    met: set[str] = set()

    def observer(boundary: str) -> None:
        if boundary not in met:
            met.add(boundary)
            raise Crash

    handlers.boundary_observers.append(observer)
    try:
        for _ in range(80):
            try:
                ending = engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
            except Crash:
                deaths += 1
                with tenant_scope(site.tenant.pk):
                    Operation.objects.filter(pk=operation.pk).update(
                        attempt=0, lease_expires_at=clock.now() - timedelta(seconds=1)
                    )
                continue
            with tenant_scope(site.tenant.pk):
                now = Operation.objects.get(pk=operation.pk)
            # The last death may come after the end is on record: then there is nothing left to claim.
            assert now.status == "COMPLETED", (ending, now.status, now.error_message)
            return deaths
    finally:
        handlers.boundary_observers.remove(observer)
    raise AssertionError("it never ended")


def test_stabilize_survives_death_at_every_boundary(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.n8n.delete_workflow(site.ids["Leads"])
    site.check()
    (operation,) = services.stabilize(
        tenant_id=site.tenant.pk, incident_ids=[i.pk for i in site.incidents()], requested_by=None
    )
    site.n8n.clear_calls()
    assert _dies_at_each_boundary(site, operation) > 15
    assert {i.incident_state for i in site.incidents()} == {"STABILIZED"}
    names = [w["name"] for w in site.n8n.state()["workflows"]]
    assert sorted(names) == ["Invoices", "Leads", "Orders"], "nothing was created twice"
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}
    site.check()
    assert {i.incident_state for i in site.incidents()} == {"STABILIZED"}


def test_reconcile_survives_death_at_every_boundary(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    (operation,) = services.reconcile(tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], requested_by=None)
    assert _dies_at_each_boundary(site, operation) > 8
    row = site.row("Orders")
    assert row.git_content_hash == row.env_content_hash
    assert site.incident().incident_state == "RECONCILED"


def test_an_edit_between_the_death_and_the_next_worker_is_not_approved(site: Any) -> None:
    site.edit("Orders", text="changed")
    site.check()
    before = site.row("Orders").git_content_hash
    (operation,) = services.reconcile(tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], requested_by=None)

    def observer(boundary: str) -> None:
        if boundary == "commit:after-intent":
            raise Crash

    handlers.boundary_observers.append(observer)
    with pytest.raises(Crash):
        engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    handlers.boundary_observers.remove(observer)
    site.edit("Orders", text="slipped in")
    with tenant_scope(site.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    assert engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id) == "FAILED"
    assert site.row("Orders").git_content_hash == before
    assert site.incident().is_active


def _killed_at(site: Any, operation: Operation, wanted: str) -> None:
    def observer(boundary: str) -> None:
        if boundary == wanted:
            handlers.boundary_observers.remove(observer)
            raise Crash

    handlers.boundary_observers.append(observer)
    with pytest.raises(Crash):
        engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(site.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))


@pytest.mark.parametrize("boundary", ["plan:after-result", "stabilize:write:orders:after-result"])
def test_a_stabilization_goes_on_after_an_upgrade_of_the_console(site: Any, newer: Any, boundary: str) -> None:
    site.edit("Orders", text="changed")
    site.check()
    (operation,) = services.stabilize(tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], requested_by=None)
    _killed_at(site, operation, boundary)
    newer()
    done = site.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}
    assert site.incident().incident_state == "STABILIZED"


@pytest.mark.parametrize("verb", ["reconcile", "stabilize"])
def test_what_was_decided_before_an_upgrade_is_refused_by_name(site: Any, newer: Any, verb: str) -> None:
    site.edit("Orders", text="changed")
    site.check()
    (operation,) = getattr(services, verb)(
        tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], requested_by=None
    )
    newer()
    done = site.drive(operation)
    assert done.status == "FAILED"
    assert done.error_details["details"]["cause"]["code"] == "DRIFT_016"
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "changed"}
    site.check()
    again = getattr(services, verb)(tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], requested_by=None)
    assert site.drive(again[0]).status == "COMPLETED"
