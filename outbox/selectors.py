"""How far consumers are, and what they have parked. Needs the platform's scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from core import clock
from core.events import Consumer
from core.paging import Page, by_time
from core.registry import registry

from .delivery import of_consumer
from .models import ConsumerCursor, Delay, ParkedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerState:
    """One consumer: what it has ahead, how old the oldest of that is, and what failed."""

    name: str
    title: str
    handled: int
    handled_at: datetime | None
    waiting: int
    lag_seconds: float
    delayed_tenants: int
    parked: int
    last_error: str

    @property
    def state(self) -> str:
        """As ``core.states`` draws it."""
        return "parked" if self.parked else "retry_pending" if self.delayed_tenants else "ok"


def consumer_states() -> list[ConsumerState]:
    """Every declared consumer, by name."""
    return [_state(consumer) for _name, consumer in sorted(registry.consumers().items())]


def _state(consumer: Consumer) -> ConsumerState:
    cursor = ConsumerCursor.objects.filter(pk=consumer.name).first()
    delays = list(Delay.objects.filter(consumer=consumer.name).order_by("since"))
    ahead = Q(sequence__gt=cursor.sequence) if cursor else Q()
    for delay in delays:
        ahead |= Q(sequence__gt=delay.sequence, tenant_id=delay.tenant_id)
    waiting = of_consumer(consumer).filter(ahead | Q(sequence=None))
    oldest = waiting.order_by("occurred_at").values_list("occurred_at", flat=True).first()
    return ConsumerState(
        name=consumer.name,
        title=consumer.title or consumer.name,
        handled=cursor.handled if cursor else 0,
        handled_at=cursor.handled_at if cursor else None,
        waiting=waiting.count(),
        lag_seconds=round((clock.now() - oldest).total_seconds(), 1) if oldest else 0.0,
        delayed_tenants=len(delays),
        parked=ParkedEvent.objects.filter(consumer=consumer.name).count(),
        last_error=next((delay.error for delay in delays if delay.error), ""),
    )


def parked_events(*, cursor: str = "", limit: int = 50) -> Page:
    """What consumers have given up at, newest first."""
    rows: QuerySet[ParkedEvent] = ParkedEvent.objects.select_related("event", "tenant")
    return by_time(rows, cursor=cursor, limit=limit, field="parked_at")


def parked_by_consumer() -> dict[str, int]:
    """How many events each consumer has parked, those of consumers that are gone included."""
    rows = ParkedEvent.objects.order_by().values("consumer").annotate(count=Count("pk"))
    return {row["consumer"]: row["count"] for row in rows}
