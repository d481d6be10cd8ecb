"""The orchestration runbook's search for orphans finds what nobody answers for, and nothing else."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from core import clock
from operations.models import Operation, OperationStep
from tenants.models import IdempotencyKey
from tenants.scope import platform_scope, tenant_scope

ORPHANS = """
SELECT io.kind FROM idempotent_operations io
LEFT JOIN saga_executions se ON io.operation_key = se.correlation_id
WHERE se.id IS NULL AND io.created_at > NOW() - INTERVAL '6 hours' ORDER BY 1
"""

pytestmark = pytest.mark.django_db(transaction=True)


def orphans() -> list[str]:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        return [kind for (kind,) in operator.execute(ORPHANS).fetchall()]


def job(cast: Any, status: str, step: str, **values: Any) -> Operation:
    with tenant_scope(cast.tenant.pk):
        made = Operation.objects.create(
            tenant=cast.tenant, kind="test.job", title="A job", status=status, params={}, **values
        )
        OperationStep.objects.create(
            tenant=cast.tenant, operation=made, position=1, name="write:orders", title="Write", state=step,
            intent={"key": "orders"}, fence=1, started_at=clock.now(),
        )  # fmt: skip
    return made


def key(name: str, *, status: int | None, minutes_ago: int) -> None:
    with platform_scope():
        IdempotencyKey.objects.create(
            scope_key=name,
            request_digest="x",
            status=status,
            claimed_at=clock.now() - timedelta(minutes=minutes_ago),
            expires_at=clock.now() + timedelta(days=1),
        )


def test_what_somebody_answers_for_is_no_orphan(live_cast: Any) -> None:
    job(live_cast, "COMPLETED", "DONE")
    job(live_cast, "RUNNING", "INTENT", idempotency_key="theirs")
    job(live_cast, "PARKED", "UNKNOWN")
    key("answered", status=202, minutes_ago=30)
    key("under way", status=None, minutes_ago=1)
    assert orphans() == []


def test_what_nobody_answers_for_is_found(live_cast: Any) -> None:
    job(live_cast, "FAILED", "UNKNOWN")
    job(live_cast, "CANCELLED", "INTENT", idempotency_key="theirs")
    key("never answered", status=None, minutes_ago=30)
    assert orphans() == ["effect write:orders", "effect write:orders", "request"]


def test_a_job_without_a_key_gets_none_by_the_runbooks_update(live_cast: Any) -> None:
    made = job(live_cast, "RUNNING", "DONE")
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute("UPDATE saga_executions SET status = 'RETRY_PENDING' WHERE saga_id = %s", [made.pk])
    with tenant_scope(live_cast.tenant.pk):
        made.refresh_from_db()
    assert (made.status, made.idempotency_key) == ("RETRY_PENDING", None)
