"""Which environments may be promoted into which."""

from __future__ import annotations

import uuid

from promotions.errors import PathRefused
from tenants.scope import tenant_scope
from workflows.guards import Place, between, may_promote, places, policy_of


def require_path(*, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID) -> None:
    """Raise ``PathRefused`` where the way from source to target leaves the tenant's order of environments.

    Ids that are not there are no business of this check.
    """
    with tenant_scope(tenant_id):
        known = {place.id: place for place in places()}
        source, target = known.get(source_id), known.get(target_id)
        if source is None or target is None or policy_of(tenant_id).allows_jumps:
            return
    if not may_promote(source, target, known.values()):
        raise _refusal(source, target, between(source, target, known.values()))


def _refusal(source: Place, target: Place, left_out: list[Place]) -> PathRefused:
    if not left_out:
        return PathRefused(
            f"{source.name} comes after {target.name}: nothing is promoted back into it.",
            recovery=f"Restore a snapshot of {target.name}; or have two owners allow jumps under Approval rules.",
        )
    names = ", ".join(place.name for place in left_out)
    return PathRefused(
        f"Between {source.name} and {target.name} comes {names}.",
        recovery=f"Promote to {left_out[0].name} first, then from there; or have two owners allow jumps under"
        " Approval rules.",
        details={"left_out": [str(place.id) for place in left_out]},
    )
