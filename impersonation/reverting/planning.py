"""The whole list of what a session did, newest first, each with its verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core.registry import registry
from impersonation.models import ImpersonationSession
from tenants.scope import tenant_scope

from .items import Item, Reverter, Verdict
from .jobs import job_items
from .rows import row_items


@dataclass(frozen=True, slots=True)
class RevertPlan:
    """``too_many``: the session wrote more than is read here; its oldest writes are in the list."""

    items: list[Item] = field(default_factory=list)
    too_many: bool = False

    def of(self, *verdicts: Verdict) -> list[Item]:
        return [item for item in self.items if item.verdict in verdicts]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(str(item.verdict) for item in self.items)
        return {str(verdict): found[str(verdict)] for verdict in Verdict}

    def to_dict(self) -> dict[str, Any]:
        """JSON for the API."""
        hidden = ("target", "order")
        rows = [{k: v for k, v in item.to_dict().items() if k not in hidden} for item in self.items]
        return {"items": rows, "counts": self.counts, "too_many": self.too_many}


def plan_of(session: ImpersonationSession) -> RevertPlan:
    """What reverting the session would come to, from the trail and what was last seen. Neither n8n nor Git is asked."""
    slug = session.impersonated_tenant.slug
    with tenant_scope(session.impersonated_tenant_id):
        rows, too_many = row_items(session, slug)
        found = [*rows, *job_items(session, slug)]
    return RevertPlan(sorted(found, key=lambda item: (item.order, item.id), reverse=True), too_many)


def reverter_of(item: Item) -> Reverter:
    """Who reverts it; only items that may be reverted have one."""
    name = item.id.partition(":")[0]
    found: Reverter = registry.row_reverters().get(name) or registry.job_reverters()[name]
    return found
