"""The first capture of an environment that somebody has just connected: nobody has to ask for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from operations.errors import Busy, TooManyJobs
from tenants.models import User
from tenants.scope import platform_scope
from workflows.gateway import environment_by_id
from workflows.notices import Connected

from .errors import EnvironmentLocked
from .models import Snapshot, SnapshotType
from .services import start_capture


def begin(notice: Connected) -> dict[str, Any]:
    """Start it for whoever added the environment, once; nothing where there is a snapshot already."""
    run = notice.run
    environment = environment_by_id(run.tenant_id, notice.environment.pk)
    if environment.last_snapshot_id is not None:
        return {}
    wanted_by = run.operation.requested_by_id
    with platform_scope():
        person = User.objects.filter(pk=wanted_by).first() if wanted_by else None
    try:
        capture = start_capture(
            tenant_id=environment.tenant_id,
            environment_id=environment.pk,
            snapshot_type=SnapshotType.BASELINE,
            description="First capture",
            requested_by=person,
            idempotency_key=f"first-capture:{environment.pk}",
        )
    except (Busy, EnvironmentLocked, TooManyJobs):
        return {}  # somebody is at work there already; the connection holds all the same
    return {"job": str(capture.pk)}


def is_done(since: datetime | None) -> bool:
    """Whether anything was captured. In the tenant's scope."""
    return Snapshot.objects.exists()
