"""Writes about the outbox: a round of deliveries, parked events, retention."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min, OuterRef

from core import clock
from core.errors import NotFound
from core.registry import registry
from tenants.scope import platform_scope

from .delays import retry_due
from .delivery import deliver, enrol, last_sequence
from .models import ConsumerCursor, Delay, OutboxEvent, ParkedEvent
from .publishing import wake
from .sequencing import sequence

logger = logging.getLogger(__name__)

DELETED_AT_ONCE = 5_000


def run_round() -> int:
    """Number what has committed and hand it to every consumer; how many events were handled.

    Consumers are apart: one that fails altogether does not hold up the others.
    """
    with platform_scope():
        enrol()
    sequence()
    handled = 0
    for consumer in registry.consumers().values():
        try:
            handled += deliver(consumer) + retry_due(consumer)
        except Exception:
            logger.exception("a consumer of the outbox cannot go on", extra={"consumer": consumer.name})
    return handled


def retry(*, parked_id: uuid.UUID) -> ParkedEvent:
    """Ask for another try at a parked event; it is made at once by a worker. Raises ``NotFound``."""
    with platform_scope():
        parked = _parked(parked_id)
        parked.retry_requested_at = clock.now()
        parked.save(update_fields=["retry_requested_at"])
        transaction.on_commit(wake)
        return parked


def dismiss(*, parked_id: uuid.UUID) -> None:
    """Leave a parked event unhandled for good: a person has looked. Raises ``NotFound``."""
    with platform_scope():
        _parked(parked_id).delete()


def _parked(parked_id: uuid.UUID) -> ParkedEvent:
    found = ParkedEvent.objects.select_for_update(of=("self",)).select_related("event").filter(pk=parked_id).first()
    if found is None:
        raise NotFound("This event is not parked any more.")
    return found


def delete_old_events() -> int:
    """Delete events past ``OUTBOX_RETENTION_DAYS`` that every consumer has handled; how many.

    What a consumer still has ahead, tries again, or has parked stays, however old.
    """
    with platform_scope():
        before = clock.now() - timedelta(days=settings.OUTBOX_RETENTION_DAYS)
        old = OutboxEvent.objects.filter(sequence__lte=_handled_by_all(), occurred_at__lt=before).exclude(
            Exists(ParkedEvent.objects.filter(event_id=OuterRef("pk")))
        )
        chosen = list(old.order_by("sequence").values_list("pk", flat=True)[:DELETED_AT_ONCE])
        OutboxEvent.objects.filter(pk__in=chosen).delete()
        return len(chosen)


def _handled_by_all() -> int:
    """Up to which number no consumer needs events any more. Cursors of consumers that are gone keep nothing."""
    names = list(registry.consumers())
    if ConsumerCursor.objects.filter(pk__in=names).count() < len(names):
        return 0
    cursors = ConsumerCursor.objects.filter(pk__in=names).aggregate(least=Min("sequence"))["least"]
    delays = Delay.objects.filter(consumer__in=names).aggregate(least=Min("sequence"))["least"]
    return min(value for value in (cursors, delays, last_sequence()) if value is not None)
