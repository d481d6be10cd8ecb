"""Reports made through the worker's door, and something to report."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

from audit.services import Event, record_events
from core import clock
from impersonation.models import ImpersonationSession
from operations import engine
from operations.models import Operation
from reports import making, services
from reports.definitions import Asked, report_named, settle
from reports.models import ReportRun
from tenants.scope import platform_scope

RUNBOOK = [
    "session_id", "actor_email", "actor_name", "impersonated_email", "impersonated_name", "tenant_name", "started_at",
    "ended_at", "duration_minutes", "ip_address", "user_agent", "write_operations_count",
]  # fmt: skip


def made(name: str, tenant: Any, *, kind: str = "csv", by: Any = None, asked: Asked | None = None) -> ReportRun:
    """A report through the worker's door."""
    run = services.request_report(
        report=report_named(name),
        tenant=tenant,
        asked=asked or settle(as_of=clock.now()),
        kind=kind,
        requested_by=by,
    )
    done = carry(run)
    assert done.status == "COMPLETED", done.error
    return done


def carry(run: ReportRun) -> ReportRun:
    """As a worker would that is told of the run's job; the run as it stands afterwards."""
    with platform_scope():
        found = ReportRun.objects.get(pk=run.pk)
    assert found.operation_id is not None
    engine.drive(operation_id=found.operation_id, tenant_id=found.tenant_id)
    return fresh(run)


def fresh(run: ReportRun) -> ReportRun:
    with platform_scope():
        return ReportRun.objects.select_related("tenant", "requested_by").get(pk=run.pk)


def jobs() -> list[Operation]:
    """The jobs that make reports, oldest first."""
    with platform_scope():
        return list(Operation.objects.filter(kind=making.KIND).order_by("created_at"))


def drive(job: Operation) -> str | None:
    return engine.drive(operation_id=job.pk, tenant_id=job.tenant_id)


def now_is_its_time() -> None:
    """The pause before the next try is over."""
    with platform_scope():
        Operation.objects.filter(kind=making.KIND).update(run_after=None)


def asked_for(name: str, tenant: Any = None) -> ReportRun:
    """A report that waits for a worker."""
    return services.request_report(
        report=report_named(name), tenant=tenant, asked=settle(as_of=clock.now()), kind="csv", requested_by=None
    )


def lines(run: ReportRun) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(services.file_of(run).read_text())))


def a_session(cast: Any, tenant: Any, target: Any, **fields: Any) -> ImpersonationSession:
    began = clock.now() - timedelta(hours=3)
    with platform_scope():
        return ImpersonationSession.objects.create(
            actor_user=cast.support,
            impersonated_user=target,
            impersonated_tenant=tenant,
            reason=fields.pop("reason", "the invoices hang"),
            ticket="SUP-7",
            user_agent="Firefox",
            ip_address="192.0.2.9",
            started_at=began,
            last_seen_at=began,
            expires_at=began + timedelta(minutes=60),
            ended_at=began + timedelta(minutes=30),
            ended_by=cast.support,
            end_reason="done",
            **fields,
        )


def some_events(tenant: Any, count: int, action: str = "REFUSED", **details: Any) -> None:
    with platform_scope():
        record_events(
            [Event(action, "requests", tenant_id=tenant.pk, details={"n": n, **details}) for n in range(count)]
        )


# -- what they say ----------------------------------------------------------------------------------------------------
