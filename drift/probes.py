"""Whether drift would be seen: the checks of every tenant run."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef

from tenants.scope import platform_scope
from workflows.models import Environment

from .models import DriftScheduler


def schedulers() -> dict[str, Any]:
    """``failed`` where checks are stopped of a tenant that has a production environment, whoever stopped them."""
    with platform_scope(read_only=True):
        guarded = Environment.objects.filter(tenant_id=OuterRef("tenant_id"), kind="production", is_archived=False)
        stopped = DriftScheduler.objects.filter(is_running=False)
        blind, running = stopped.filter(Exists(guarded)).count(), DriftScheduler.objects.filter(is_running=True).count()
        still = stopped.count()
    message = f"{running} {'tenant is' if running == 1 else 'tenants are'} checked for drift."
    if still:
        message += f" Checks of {still} are stopped; POST /api/v1/drift/schedulers/start-all starts them again."
    return {"status": "failed" if blind else "ok", "message": message, "running": running, "stopped": still}
