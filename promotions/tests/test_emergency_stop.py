"""The runbook's emergency stop while n8n is slow: nothing more leaves, and the target stays locked meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import psycopg
import pytest
from django.db import connection

from core.errors import Conflict
from operations import engine
from operations.models import Operation, OperationStep
from promotions import services
from promotions.models import Promotion
from promotions.running import status_sync
from promotions.tests.world import World, flow, node
from tenants.scope import tenant_scope
from workflows.n8n.http import Http

LATENCY_SECONDS = 4.0
#: A job may send on for a moment after it was last seen to run; what leaves in it is waited for.
GRACE_SECONDS = 0.5
NAMES = [f"Flow {number}" for number in range(6)]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each write to n8n left, by the monotonic clock."""
    moments: list[float] = []
    exchange = Http._exchange

    def noted(http: Http, request: Any, until: float) -> Any:
        if request.method != "GET":
            moments.append(time.monotonic())
        return exchange(http, request, until)

    monkeypatch.setattr(Http, "_exchange", noted)
    return moments


@pytest.fixture
def promotion(empty_world: World, settings: Any) -> Promotion:
    """Six workflows to write, one at a time, to an n8n that takes four seconds for each."""
    settings.N8N_WRITES_AT_ONCE = 1
    empty_world.source.seed([flow(name, node("New step")) for name in NAMES])
    empty_world.target.seed([flow(name) for name in NAMES])
    empty_world.capture()
    made = empty_world.approved(*(name.lower().replace(" ", "-") for name in NAMES))
    empty_world.target.fault(kind="latency", seconds=LATENCY_SECONDS, method="PUT")
    return made


def beside(work: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    return thread


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def stop_by_hand() -> float:
    """The runbook's SQL; the moment at which it was answered."""
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute(
            "UPDATE background_jobs SET status = 'FAILED', error_message = 'Emergency stop executed', ended_at = NOW()"
            " WHERE status = 'RUNNING'"
        )
    return time.monotonic()


def roll_back(world: World, promotion: Promotion) -> Operation:
    return services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver, reason="Stopped", force=True
    )


def test_nothing_leaves_after_the_stop_and_the_lock_waits_for_what_had_left(
    empty_world: World, promotion: Promotion, sent: list[float]
) -> None:
    world, before = empty_world, empty_world.hashes()
    operation = world.start(promotion)
    working = beside(lambda: engine.drive(operation_id=operation.pk, tenant_id=world.tenant_id))
    until(lambda: sent)
    stopped = stop_by_hand()
    status_sync.settle_all()
    assert world.fresh(promotion).status == "FAILED"
    with pytest.raises(Conflict, match="still"):
        roll_back(world, promotion)
    assert working.is_alive() and time.monotonic() < sent[0] + LATENCY_SECONDS, "the first write is not answered yet"
    working.join(timeout=60)
    ended = time.monotonic()
    assert max(sent) < stopped + GRACE_SECONDS, f"{len([s for s in sent if s > stopped])} left after the stop"
    assert ended - stopped < LATENCY_SECONDS + 3, "nothing that had not left is waited for"
    world.target.clear_faults()
    assert world.drive(roll_back(world, promotion)) == "COMPLETED"
    assert world.hashes() == before
    assert (world.fresh(promotion).execution_result or {})["manual_rollback"]["status"] == "success"


def test_what_had_left_is_put_on_record_once_it_is_answered(
    empty_world: World, promotion: Promotion, sent: list[float]
) -> None:
    operation = empty_world.start(promotion)
    working = beside(lambda: engine.drive(operation_id=operation.pk, tenant_id=empty_world.tenant_id))
    until(lambda: sent)
    stop_by_hand()
    working.join(timeout=60)
    with tenant_scope(empty_world.tenant_id):
        steps = OperationStep.objects.filter(operation_id=operation.pk, name__startswith="promote:write:")
        done = [step.name for step in steps if step.state == "DONE"]
        job = Operation.objects.get(pk=operation.pk)
    assert len(done) == len(sent) == 1
    assert (job.status, job.error_message, job.lease_owner) == ("FAILED", "Emergency stop executed", "")
