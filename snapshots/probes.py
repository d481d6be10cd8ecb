"""Whether the Git stores are there and have room."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings

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
