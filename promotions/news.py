"""News of a promotion for the pages that show it: decided, planned again, begun, ended."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from operations.events import Event
from operations.selectors import open_operations_on
from opsconsole.core.errors import NotFound
from tenants.scope import tenant_scope

from .models import Promotion


def version_of(promotion: Promotion) -> str:
    """Changes whenever its page is another one: its row was written, or a job on it began or ended.

    Needs the tenant's scope.
    """
    jobs = sorted(operation.pk.hex[:8] for operation in open_operations_on("promotion", promotion.pk))
    return "-".join([f"{promotion.updated_at.timestamp():.6f}", promotion.status, promotion.plan_hash[:8], *jobs])


def promotion_poll(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, seen: str) -> Callable[[], list[Event]]:
    """``changed`` whenever the promotion is another one than the version last ``seen``. Raises ``NotFound``."""
    last = {"version": seen}

    def now() -> str:
        with tenant_scope(tenant_id):
            row = Promotion.objects.only("status", "plan_hash", "updated_at").filter(pk=promotion_id).first()
            if row is None:
                raise NotFound
            return version_of(row)

    def poll() -> list[Event]:
        version = now()
        if version == last["version"]:
            return []
        last["version"] = version
        return [(version, "changed", {"id": str(promotion_id)})]

    now()
    return poll
