"""Handing events to consumers: in order, each effect once, whoever is killed meanwhile.

A consumer's effects commit together with its cursor, so they are there exactly once. What it fails at is tried apart
(``delays``), and the consumer goes on with the events of others. Before a batch its end is committed: where a worker
dies in it, the next one tries its tenants apart, too, so that an event that kills workers stops nobody else.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet

from core import clock, context
from core.checkpoints import checkpoint
from core.events import Consumer, Delivery
from core.registry import registry
from tenants.base import belongs_to
from tenants.scope import platform_scope, tenant_or_platform_scope

from .documents import from_stored
from .models import ConsumerCursor, Delay, OutboxEvent, OutboxOrder

logger = logging.getLogger(__name__)

BATCH = 500
#: A batch that was begun this long ago, and that nobody holds a lock for, belongs to a worker that is gone.
BEGUN_IS_OVER_AFTER = timedelta(seconds=2)
RETRY_DELAYS_SECONDS = (1, 5, 15, 60)
DIED = "The worker that handled it is gone; perhaps it was the event that killed it."


@dataclass(frozen=True, slots=True)
class _Claim:
    """A batch that this worker is about to handle."""

    number: int
    after: int
    end: int


def enrol() -> None:
    """Give consumers that are new their cursor. They begin with what has no number yet: what comes from now on."""
    missing = set(registry.consumers()) - set(ConsumerCursor.objects.values_list("name", flat=True))
    if missing:
        last = last_sequence()
        cursors = [ConsumerCursor(name=name, sequence=last) for name in sorted(missing)]
        ConsumerCursor.objects.bulk_create(cursors, ignore_conflicts=True)


def last_sequence() -> int:
    """The last number given; everything up to it has committed. Needs the platform's scope."""
    return OutboxOrder.objects.values_list("last_sequence", flat=True).first() or 0


def deliver(consumer: Consumer) -> int:
    """Hand a consumer everything that is new for it; how many events. Nothing where another worker is at it."""
    total = 0
    while (count := _deliver_batch(consumer)) is not None:
        total += count
    return total


def _deliver_batch(consumer: Consumer) -> int | None:
    """One batch; how many events it had, or None where nothing is left to do here."""
    claim = _begin(consumer)
    if claim is None:
        return None
    checkpoint(f"outbox:{consumer.name}:begun")
    with platform_scope():
        # Others look at the cursor only for a moment; while this lock is held nobody takes the batch away.
        rows = ConsumerCursor.objects.select_for_update().filter(pk=consumer.name, claim=claim.number)
        if rows.first() is None:
            return None
        events = list(_readable(consumer, after=claim.after, end=claim.end))
        _hand_over(consumer, events)
        ConsumerCursor.objects.filter(pk=consumer.name).update(
            sequence=claim.end, batch_end=None, handled=F("handled") + len(events), handled_at=clock.now()
        )
        checkpoint(f"outbox:{consumer.name}:before-commit")
    checkpoint(f"outbox:{consumer.name}:committed")
    return len(events)


def _begin(consumer: Consumer) -> _Claim | None:
    """Put on record that a batch begins, before any of it; None where there is nothing new or others are at it."""
    now = clock.now()
    with platform_scope():
        cursor = ConsumerCursor.objects.select_for_update(skip_locked=True).filter(pk=consumer.name).first()
        if cursor is None:
            return None
        if cursor.batch_end is not None:
            if cursor.claimed_at and cursor.claimed_at > now - BEGUN_IS_OVER_AFTER:
                return None
            _try_apart(consumer, cursor)
        last = last_sequence()
        if cursor.sequence >= last:
            return None
        ahead = _readable(consumer, after=cursor.sequence, end=last)
        numbers = [number for number in ahead.values_list("sequence", flat=True)[:BATCH] if number is not None]
        if not numbers:
            ConsumerCursor.objects.filter(pk=consumer.name).update(sequence=last)
            return None
        claim = _Claim(cursor.claim + 1, cursor.sequence, numbers[-1] if len(numbers) == BATCH else last)
        ConsumerCursor.objects.filter(pk=consumer.name).update(claim=claim.number, batch_end=claim.end, claimed_at=now)
        return claim


def _try_apart(consumer: Consumer, cursor: ConsumerCursor) -> None:
    """A worker died in this batch, nobody knows at which event: from here on each tenant's are tried one by one."""
    assert cursor.batch_end is not None  # noqa: S101 -- asked by who calls
    places = set(
        _readable(consumer, after=cursor.sequence, end=cursor.batch_end).values_list("tenant_id", flat=True).order_by()
    )
    for tenant_id in places:
        _delay(consumer, tenant_id, after=cursor.sequence, error=DIED, wait_seconds=0, attempts=0)
    # The claim rises: should that worker be alive after all, it finds that the batch is not its own any more.
    cursor.sequence, cursor.claim = cursor.batch_end, cursor.claim + 1
    ConsumerCursor.objects.filter(pk=consumer.name).update(sequence=cursor.sequence, claim=cursor.claim, batch_end=None)


def _delay(
    consumer: Consumer, tenant_id: uuid.UUID | None, *, after: int, error: str, wait_seconds: float, attempts: int
) -> None:
    """Handle a tenant's events after ``after`` apart from now on."""
    now = clock.now()
    Delay.objects.create(
        tenant_id=tenant_id,
        consumer=consumer.name,
        sequence=after,
        attempts=attempts,
        error=error,
        next_try_at=now + timedelta(seconds=wait_seconds),
        since=now,
    )


def of_consumer(consumer: Consumer) -> QuerySet[OutboxEvent]:
    """Events that a consumer has asked for."""
    names = [event.name for event in registry.event_types().values() if event.payload in consumer.events]
    return OutboxEvent.objects.filter(name__in=names)


def _readable(consumer: Consumer, *, after: int, end: int) -> QuerySet[OutboxEvent]:
    """What lies ahead of a consumer, in order, without the tenants whose events are handled apart."""
    apart = set(Delay.objects.filter(consumer=consumer.name).values_list("tenant_id", flat=True))
    rows = of_consumer(consumer).filter(sequence__gt=after, sequence__lte=end)
    if None in apart:
        rows = rows.filter(tenant__isnull=False)
    if tenants := apart - {None}:
        rows = rows.filter(Q(tenant=None) | ~Q(tenant_id__in=tenants))
    return rows.order_by("sequence")


# -- effects ----------------------------------------------------------------------------------------------------------


def _hand_over(consumer: Consumer, events: Sequence[OutboxEvent]) -> None:
    """Handle a batch, tenant by tenant; of one that fails the rest is handled apart. Order between tenants is none."""
    by_tenant = sorted(events, key=lambda event: str(event.tenant_id))
    for tenant_id, group in groupby(by_tenant, key=attrgetter("tenant_id")):
        mine = list(group)
        try:
            handle_all(consumer, tenant_id, mine)
        except Exception:  # noqa: BLE001 -- which one it was, and why, is found out one by one
            _one_by_one(consumer, tenant_id, mine)


def _one_by_one(consumer: Consumer, tenant_id: uuid.UUID | None, events: Sequence[OutboxEvent]) -> None:
    for event in events:
        try:
            handle_all(consumer, tenant_id, [event])
        except Exception as error:
            logger.exception("a consumer failed at an event", extra={"consumer": consumer.name, "event": str(event.pk)})
            assert event.sequence is not None  # noqa: S101 -- only numbered events are read
            _delay(
                consumer,
                tenant_id,
                after=event.sequence - 1,
                error=words_of(error),
                wait_seconds=RETRY_DELAYS_SECONDS[0],
                attempts=1,
            )
            return


def handle_all(consumer: Consumer, tenant_id: uuid.UUID | None, events: Iterable[OutboxEvent]) -> None:
    """Handle events of one tenant in its scope; all of it is undone where one fails."""
    with transaction.atomic(), tenant_or_platform_scope(tenant_id):
        for event in events:
            with context.acting(**_as_the_console(event)):
                consumer.handle(_delivery(consumer, event))
            checkpoint(f"outbox:{consumer.name}:handled")


def _delivery(consumer: Consumer, event: OutboxEvent) -> Delivery[object]:
    return Delivery(
        consumer=consumer.name,
        event_id=event.pk,
        tenant_id=event.tenant_id,
        occurred_at=event.occurred_at,
        event=from_stored(event.name, event.version, event.payload),
        caused_by=event.caused_by,
    )


def _as_the_console(event: OutboxEvent) -> dict[str, object]:
    """What follows from an event is the console's own act; the request and the job that caused it stay on record."""
    cause = context.ActionContext.from_dict(event.caused_by)
    return {
        "actor_id": None,
        "acting_as_id": None,
        "session_id": None,
        "source": "system",
        "request_id": cause.request_id,
        "operation_id": cause.operation_id,
    }


def words_of(error: Exception) -> str:
    """A failure for people. A database's own words hold the statement and rows of it: they are for the log alone."""
    return type(error).__name__ if isinstance(error, DatabaseError) else f"{type(error).__name__}: {error}"[:1000]


def events_after(consumer: Consumer, tenant_id: uuid.UUID | None, *, after: int, end: int) -> QuerySet[OutboxEvent]:
    """One tenant's (or the platform's) events for a consumer, in order."""
    rows = of_consumer(consumer).filter(belongs_to(tenant_id), sequence__gt=after, sequence__lte=end)
    return rows.order_by("sequence")
