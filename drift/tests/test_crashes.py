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


def _dies_at_each_boundary(place: Any, operation: Operation) -> int:
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
                with tenant_scope(place.tenant.pk):
                    Operation.objects.filter(pk=operation.pk).update(
                        attempt=0, lease_expires_at=clock.now() - timedelta(seconds=1)
                    )
                continue
            with tenant_scope(place.tenant.pk):
                now = Operation.objects.get(pk=operation.pk)
            # The last death may come after the end is on record: then there is nothing left to claim.
            assert now.status == "COMPLETED", (ending, now.status, now.error_message)
            return deaths
    finally:
        handlers.boundary_observers.remove(observer)
    raise AssertionError("it never ended")


def test_stabilize_survives_death_at_every_boundary(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.n8n.delete_workflow(place.ids["Leads"])
    place.check()
    (operation,) = services.stabilize(
        tenant_id=place.tenant.pk, incident_ids=[i.pk for i in place.incidents()], requested_by=None
    )
    place.n8n.clear_calls()
    assert _dies_at_each_boundary(place, operation) > 15
    assert {i.incident_state for i in place.incidents()} == {"STABILIZED"}
    names = [w["name"] for w in place.n8n.state()["workflows"]]
    assert sorted(names) == ["Invoices", "Leads", "Orders"], "nothing was created twice"
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}
    place.check()
    assert {i.incident_state for i in place.incidents()} == {"STABILIZED"}


def test_reconcile_survives_death_at_every_boundary(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    (operation,) = services.reconcile(tenant_id=place.tenant.pk, incident_ids=[place.incident().pk], requested_by=None)
    assert _dies_at_each_boundary(place, operation) > 8
    row = place.row("Orders")
    assert row.git_content_hash == row.env_content_hash
    assert place.incident().incident_state == "RECONCILED"


def test_an_edit_between_the_death_and_the_next_worker_is_not_approved(place: Any) -> None:
    place.edit("Orders", text="changed")
    place.check()
    before = place.row("Orders").git_content_hash
    (operation,) = services.reconcile(tenant_id=place.tenant.pk, incident_ids=[place.incident().pk], requested_by=None)

    def observer(boundary: str) -> None:
        if boundary == "commit:after-intent":
            raise Crash

    handlers.boundary_observers.append(observer)
    with pytest.raises(Crash):
        engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    handlers.boundary_observers.remove(observer)
    place.edit("Orders", text="slipped in")
    with tenant_scope(place.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    assert engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id) == "FAILED"
    assert place.row("Orders").git_content_hash == before
    assert place.incident().is_active


def _killed_at(place: Any, operation: Operation, wanted: str) -> None:
    def observer(boundary: str) -> None:
        if boundary == wanted:
            handlers.boundary_observers.remove(observer)
            raise Crash

    handlers.boundary_observers.append(observer)
    with pytest.raises(Crash):
        engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(place.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))


@pytest.mark.parametrize("boundary", ["plan:after-result", "stabilize:write:orders:after-result"])
def test_a_stabilization_goes_on_after_an_upgrade_of_the_console(place: Any, newer: Any, boundary: str) -> None:
    place.edit("Orders", text="changed")
    place.check()
    (operation,) = services.stabilize(tenant_id=place.tenant.pk, incident_ids=[place.incident().pk], requested_by=None)
    _killed_at(place, operation, boundary)
    newer()
    done = place.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}
    assert place.incident().incident_state == "STABILIZED"


@pytest.mark.parametrize("verb", ["reconcile", "stabilize"])
def test_what_was_decided_before_an_upgrade_is_refused_by_name(place: Any, newer: Any, verb: str) -> None:
    place.edit("Orders", text="changed")
    place.check()
    (operation,) = getattr(services, verb)(
        tenant_id=place.tenant.pk, incident_ids=[place.incident().pk], requested_by=None
    )
    newer()
    done = place.drive(operation)
    assert done.status == "FAILED"
    assert done.error_details["details"]["cause"]["code"] == "DRIFT_016"
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "changed"}
    place.check()
    again = getattr(services, verb)(tenant_id=place.tenant.pk, incident_ids=[place.incident().pk], requested_by=None)
    assert place.drive(again[0]).status == "COMPLETED"
