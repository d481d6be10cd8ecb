"""The beat's round: who has something to be looked at or told gets a worker."""

from __future__ import annotations

import logging
import uuid

from django.db.models import Q

from core import clock
from tenants.scope import platform_scope
from workflows.gateway import environment_by_id
from workflows.models import StarterWatch, Telling

from . import telling, verdicts

logger = logging.getLogger(__name__)

STARTED_AT_ONCE = 200


def wake_due() -> int:
    """Have looked at what is due, in every tenant; in how many environments."""
    now = clock.now()
    due = verdicts.due(now)
    untold = Q(telling=Telling.WAITING, tell_at__lte=now)
    untold |= Q(telling=Telling.SENDING, tell_at__lt=now - telling.SENDING_LASTS)
    with platform_scope():
        rows = StarterWatch.objects.filter(due | untold, environment__is_archived=False)
        found = list(rows.order_by().values_list("tenant_id", "environment_id").distinct()[:STARTED_AT_ONCE])
    for tenant_id, environment_id in found:
        _wake(tenant_id, environment_id)
    return len(found)


def _wake(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> None:
    from workflows.tasks import look_at_watched

    try:
        look_at_watched.apply_async(args=[str(tenant_id), str(environment_id)], retry=False, expires=60)
    except Exception:
        logger.warning("could not wake a worker; the next round will", exc_info=True)


def look(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> int:
    """One round in one environment: settle what can be settled, then tell people; how many were settled."""
    environment = environment_by_id(tenant_id, environment_id)
    settled = verdicts.settle(environment)
    telling.tell(environment)
    return settled
