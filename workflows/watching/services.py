"""One round over the watched starters of an environment."""

from __future__ import annotations

import uuid

from workflows.gateway import environment_by_id

from . import telling, verdicts


def look(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> int:
    """Settle what can be settled, then mail people about what is bad; how many were settled."""
    environment = environment_by_id(tenant_id, environment_id)
    settled = verdicts.settle(environment)
    telling.tell(environment)
    return settled
