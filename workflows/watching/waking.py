"""The beat's round: environments with something to check or to report get a worker."""

from __future__ import annotations

import logging
import uuid

from django.db.models import Q

from core import clock
from tenants.scope import platform_scope
from workflows.models import StarterWatch, Telling

from . import telling, verdicts
from .tasks import look_at_watched

logger = logging.getLogger(__name__)

STARTED_AT_ONCE = 200


def wake_due() -> int:
    """Have everything that is due checked, in every tenant; in how many environments."""
    now = clock.now()
    unsent = Q(telling=Telling.WAITING, tell_at__lte=now)
    unsent |= Q(telling=Telling.SENDING, tell_at__lt=now - telling.SENDING_LASTS)
    with platform_scope():
        rows = StarterWatch.objects.filter(verdicts.due(now) | unsent, environment__is_archived=False)
        found = list(rows.order_by().values_list("tenant_id", "environment_id").distinct()[:STARTED_AT_ONCE])
    for tenant_id, environment_id in found:
        _wake(tenant_id, environment_id)
    return len(found)


def _wake(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> None:
    try:
        look_at_watched.apply_async(args=[str(tenant_id), str(environment_id)], retry=False, expires=60)
    except Exception:
        logger.warning("could not wake a worker; the next round will", exc_info=True)
