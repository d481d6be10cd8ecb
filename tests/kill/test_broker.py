"""Redis may be emptied at any time: what is sent afterwards still arrives at workers that have long been connected."""

from __future__ import annotations

import uuid

import pytest

from core import clock
from operations.models import Heartbeat
from snapshots.services import start_capture
from tenants.scope import platform_scope

from .stage import ENDED, Stage, until

pytestmark = [pytest.mark.kill, pytest.mark.xdist_group("kill")]


def test_emptying_redis_breaks_no_routing(stage: Stage) -> None:
    victim = stage.forge.worker(kill_at=None)
    try:
        until("the worker is ready", victim.ready.exists)
        for _ in range(2):
            with stage.broker.lock:
                stage.broker.empty()
                operation = start_capture(tenant_id=stage.tenant.pk, environment_id=stage.source.pk, requested_by=None)
                began = len(victim.boundaries())
                stage.broker.wake(operation, queue=victim.queue)
                until("the message has arrived", lambda n=began: "operation:claimed" in victim.boundaries()[n:])
            until("the work is done", lambda o=operation: stage.operation(o).status in ENDED)
            assert stage.operation(operation).status == "COMPLETED"
    finally:
        victim.stop()


def test_beat_goes_on_after_redis_was_emptied(stage: Stage) -> None:
    with stage.broker.lock:
        stage.broker.empty()
    emptied = clock.now()

    def reaped() -> bool:
        with platform_scope():
            return Heartbeat.objects.filter(name="reaper", seen_at__gt=emptied).exists()

    until("the reaper has run again", reaped)


def test_work_that_no_message_was_sent_for_is_found(stage: Stage) -> None:
    operation = start_capture(tenant_id=stage.tenant.pk, environment_id=stage.source.pk, requested_by=None)
    until("the reaper found it and it is done", lambda: stage.operation(operation).status in ENDED)
    assert stage.operation(operation).status == "COMPLETED"


def test_a_message_twice_and_one_for_nothing_do_no_harm(stage: Stage) -> None:
    operation = start_capture(tenant_id=stage.tenant.pk, environment_id=stage.source.pk, requested_by=None)
    for _ in range(3):
        stage.broker.wake(operation, queue="operations")
    nothing = type(operation)(pk=uuid.uuid4(), tenant_id=stage.tenant.pk)
    stage.broker.wake(nothing, queue="operations")
    until("the work is done", lambda: stage.operation(operation).status in ENDED)
    row = stage.operation(operation)
    assert (row.status, row.attempt) == ("COMPLETED", 1)
