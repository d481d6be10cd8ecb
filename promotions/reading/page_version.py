"""When an open page of a promotion is out of date: it was decided on, commented on, planned again, begun or ended."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from core.errors import NotFound
from operations.events import Event
from operations.models import Operation
from promotions import selectors
from promotions.models import Promotion
from promotions.reviewing.comments import subject_of
from tenants.scope import tenant_scope
from workflows.discussing.reading import stamp_of


def version_of(promotion: Promotion, jobs: Sequence[Operation]) -> str:
    """Changes whenever its page does: its row was written, somebody commented, or one of the ``jobs`` began or ended.

    Needs the tenant's scope.
    """
    at_work = sorted(job.pk.hex[:8] for job in jobs)
    own = [f"{promotion.updated_at.timestamp():.6f}", promotion.status, promotion.plan_hash[:8]]
    return "-".join([*own, stamp_of(subject_of(promotion)), *at_work])


def version_now(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID) -> str:
    """The version that a page drawn now would show. Raises ``NotFound``."""
    with tenant_scope(tenant_id):
        row = Promotion.objects.only("tenant_id", "status", "plan_hash", "updated_at").filter(pk=promotion_id).first()
        if row is None:
            raise NotFound
        return version_of(row, selectors.jobs_on(row))


def promotion_poll(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, seen: str) -> Callable[[], list[Event]]:
    """An event ``changed`` whenever the version is another one than was ``seen`` last. Raises ``NotFound``."""
    last = {"version": seen}

    def poll() -> list[Event]:
        version = version_now(tenant_id=tenant_id, promotion_id=promotion_id)
        if version == last["version"]:
            return []
        last["version"] = version
        return [(version, "changed", {"id": str(promotion_id)})]

    version_now(tenant_id=tenant_id, promotion_id=promotion_id)
    return poll
