"""Events that a consumer failed at: tried again with growing delays, one at a time, and parked in the end.

While one is tried again its tenant's later events wait behind it, so the tenant's order is kept. Once it is parked
nothing waits for it. An attempt is counted before it is made, so an event that kills its worker is parked as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F

from core import clock
from core.checkpoints import checkpoint
from core.events import Consumer
from tenants.scope import platform_scope

from .delivery import DIED, RETRY_DELAYS_SECONDS, events_after, handle_all, words_of
from .models import ConsumerCursor, Delay, OutboxEvent, ParkedEvent

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = len(RETRY_DELAYS_SECONDS) + 1


@dataclass(frozen=True, slots=True)
class _Try:
    """A try that is on record, before it is made."""

    delay: Delay
    attempt: int


def retry_due(consumer: Consumer) -> int:
    """Try again what is due, and what people asked to be tried again; how many events were handled."""
    return sum(_catch_up(consumer, delay) for delay in _due(consumer)) + _retry_requested(consumer)


def _due(consumer: Consumer) -> list[Delay]:
    with platform_scope():
        return list(Delay.objects.filter(consumer=consumer.name, next_try_at__lte=clock.now()).order_by("next_try_at"))


def _catch_up(consumer: Consumer, delay: Delay) -> int:
    """Handle one tenant's delayed events until one fails or it has caught up; how many were handled."""
    handled = 0
    while (begun := _count_attempt(delay)) is not None:
        checkpoint(f"outbox:{consumer.name}:retry-begun")
        if not _try_next(consumer, begun):
            break
        handled += 1
    return handled


def _wait_seconds(attempt: int) -> int:
    return RETRY_DELAYS_SECONDS[min(max(attempt, 1), len(RETRY_DELAYS_SECONDS)) - 1]


def _count_attempt(delay: Delay) -> _Try | None:
    """Count a try, committed before it is made; None where it is not due, or another worker is at it."""
    now = clock.now()
    with platform_scope():
        row = Delay.objects.select_for_update(skip_locked=True).filter(pk=delay.pk, next_try_at__lte=now).first()
        if row is None:
            return None
        attempt = row.attempts + 1
        waits = timedelta(seconds=_wait_seconds(attempt))
        Delay.objects.filter(pk=row.pk).update(attempts=attempt, next_try_at=now + waits)
        return _Try(row, attempt)


def _try_next(consumer: Consumer, begun: _Try) -> bool:
    """Handle the next delayed event; whether to go on with the one after it."""
    with platform_scope():
        # First the consumer's lock: it moves its cursor past this tenant's events only while it holds it.
        cursor = ConsumerCursor.objects.select_for_update().get(pk=consumer.name)
        delay = Delay.objects.select_for_update().filter(pk=begun.delay.pk, attempts=begun.attempt).first()
        if delay is None:
            return False
        event = events_after(consumer, delay.tenant_id, after=delay.sequence, end=cursor.sequence).first()
        if event is None:
            delay.delete()
            return False
        if begun.attempt > MAX_ATTEMPTS:
            # The worker died at the last try, too.
            _park(consumer, delay, event, delay.error or DIED)
            return True
        try:
            handle_all(consumer, delay.tenant_id, [event])
        except Exception as error:
            logger.exception("a consumer failed again", extra={"consumer": consumer.name, "event": str(event.pk)})
            return _failed(consumer, delay, event, words_of(error))
        _go_on(delay, event)
        ConsumerCursor.objects.filter(pk=consumer.name).update(handled=F("handled") + 1, handled_at=clock.now())
        checkpoint(f"outbox:{consumer.name}:retry-before-commit")
        return True


def _failed(consumer: Consumer, delay: Delay, event: OutboxEvent, error: str) -> bool:
    if delay.attempts >= MAX_ATTEMPTS:
        _park(consumer, delay, event, error)
        return True
    Delay.objects.filter(pk=delay.pk).update(error=error)
    return False


def _go_on(delay: Delay, event: OutboxEvent) -> None:
    """The next event of the tenant is due at once, with its own attempts."""
    Delay.objects.filter(pk=delay.pk).update(sequence=event.sequence, attempts=0, next_try_at=clock.now(), error="")


def _park(consumer: Consumer, delay: Delay, event: OutboxEvent, error: str) -> None:
    ParkedEvent.objects.create(
        tenant_id=event.tenant_id,
        consumer=consumer.name,
        event=event,
        attempts=min(delay.attempts, MAX_ATTEMPTS),
        error=error,
        parked_at=clock.now(),
    )
    _go_on(delay, event)


def _retry_requested(consumer: Consumer) -> int:
    """Parked events that a person wants to be tried again; how many were handled."""
    with platform_scope():
        rows = ParkedEvent.objects.filter(consumer=consumer.name, retry_requested_at__isnull=False)
        wanted = list(rows.order_by("retry_requested_at", "pk"))
    return sum(_retry_parked(consumer, parked) for parked in wanted)


def _retry_parked(consumer: Consumer, parked: ParkedEvent) -> bool:
    """One try for a request: counted before it is made, and gone with the parked event once it was handled."""
    with platform_scope():
        rows = ParkedEvent.objects.filter(pk=parked.pk, retry_requested_at=parked.retry_requested_at)
        taken = rows.update(attempts=F("attempts") + 1, retry_requested_at=None, tried_at=clock.now(), error=DIED)
    if not taken:
        return False
    checkpoint(f"outbox:{consumer.name}:parked-retry-begun")
    with platform_scope():
        ConsumerCursor.objects.select_for_update().get(pk=consumer.name)
        row = ParkedEvent.objects.select_related("event").filter(pk=parked.pk).first()
        if row is None:
            return False
        try:
            handle_all(consumer, row.tenant_id, [row.event])
        except Exception as error:
            logger.exception("a consumer failed at a parked event", extra={"consumer": consumer.name})
            ParkedEvent.objects.filter(pk=row.pk).update(error=words_of(error), parked_at=clock.now())
            return False
        row.delete()
    return True
