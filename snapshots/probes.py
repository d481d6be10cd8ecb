"""Whether the Git stores are there and have room."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings

from operations.models import Operation, OperationStatus
from tenants.models import Tenant
from tenants.scope import platform_scope

from . import pushing
from .repository import missing_stores

LEAST_FREE_BYTES = 200 * 1024 * 1024


def git_store() -> dict[str, Any]:
    root = settings.GIT_ROOT
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    found: dict[str, Any] = {"status": "ok" if free > LEAST_FREE_BYTES else "failed", "free_bytes": free}
    if missing := len(missing_stores()):
        stores = "the store of a tenant is" if missing == 1 else f"the stores of {missing} tenants are"
        message = f"In the folder {stores} missing: is it mounted? A capture would start an empty history."
        found |= {"status": "failed", "missing_stores": missing, "message": message}
    return found


def git_remotes() -> dict[str, Any]:
    """Whether what was captured and approved is copied to each tenant's remote: how many are behind."""
    with platform_scope(read_only=True):
        remotes = set(Tenant.objects.exclude(git_remote_url="").values_list("pk", flat=True))
        pushes = Operation.objects.filter(kind=pushing.KIND, tenant_id__in=remotes).order_by("tenant_id", "-created_at")
        last = pushes.distinct("tenant_id").values_list("status", flat=True)
        failed = sum(status in (OperationStatus.FAILED, OperationStatus.PARKED) for status in last)
    if not remotes:
        return {"status": "ok", "message": "No tenant has a remote.", "remotes": 0, "remotes_failed": 0}
    message = f"{failed} of {len(remotes)} could not be copied to." if failed else f"{len(remotes)} copied to."
    return {
        "status": "failed" if failed else "ok",
        "message": message,
        "remotes": len(remotes),
        "remotes_failed": failed,
    }
