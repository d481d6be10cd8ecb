"""Two events, two consumers, and a table where effects are counted: what the tests of the outbox are about."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import connection

from conftest import owner_connection
from core.events import Consumer, Delivery, EventType
from core.registry import Console, registry
from outbox.publishing import publish
from tenants.scope import tenant_or_platform_scope

APP = "outbox.tests"
ROLES = "opsconsole_app, opsconsole_tenant, opsconsole_platform"


class BottleFilled(msgspec.Struct, frozen=True):
    """Version 2: version 1 called it ``name``."""

    label: str


class BottleBroken(msgspec.Struct, frozen=True):
    label: str


EVENTS = (
    EventType(
        name="bottle.filled",
        payload=BottleFilled,
        words="Bottle filled",
        version=2,
        upgrades={1: lambda old: {"label": old["name"]}},
    ),
    EventType(name="bottle.broken", payload=BottleBroken, words="Bottle broken"),
)


@dataclass
class World:
    """Hangs failures on consumers: ``trouble`` is called with (consumer, label) before the effect."""

    trouble: Callable[[str, str], None] = field(default=lambda _consumer, _label: None)

    def counting(self, delivery: Delivery[Any]) -> None:
        """The effect: one row for the consumer and the event."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO test_effects (consumer, event_id, place, label) VALUES (%s, %s, %s, %s)",
                [delivery.consumer, delivery.event_id, delivery.tenant_id, delivery.event.label],
            )
        self.trouble(delivery.consumer, delivery.event.label)

    @property
    def console(self) -> Console:
        return Console(
            events=EVENTS,
            consumers=(
                Consumer(name="test.count", events=(BottleFilled, BottleBroken), handle=self.counting),
                Consumer(name="test.sweep", events=(BottleBroken,), handle=self.counting),
            ),
        )


@contextmanager
def effects_table() -> Iterator[None]:
    with owner_connection() as owner:
        owner.execute("DROP TABLE IF EXISTS test_effects")
        owner.execute(
            "CREATE TABLE test_effects (number bigserial, consumer text, event_id uuid, place uuid, label text)"
        )
        owner.execute(f"GRANT SELECT, INSERT ON test_effects TO {ROLES}")
        owner.execute(f"GRANT USAGE ON SEQUENCE test_effects_number_seq TO {ROLES}")
    yield
    with owner_connection() as owner:
        owner.execute("DROP TABLE test_effects")


def install(world: World) -> None:
    registry.consoles[APP] = world.console


def effects(consumer: str, place: uuid.UUID | None = None) -> list[str]:
    """Labels in the order of their effects: of one tenant, or of all."""
    with owner_connection() as owner:
        rows = owner.execute(
            "SELECT label FROM test_effects WHERE consumer = %s AND (%s::uuid IS NULL OR place = %s) ORDER BY number",
            [consumer, place, place],
        ).fetchall()
    return [row[0] for row in rows]


def fill(tenant: Any, *labels: str) -> list[uuid.UUID]:
    """Publish one event for each label, each in a transaction of its own."""
    return [_publish(BottleFilled(label), tenant) for label in labels]


def smash(tenant: Any, *labels: str) -> list[uuid.UUID]:
    return [_publish(BottleBroken(label), tenant) for label in labels]


def _publish(event: msgspec.Struct, tenant: Any) -> uuid.UUID:
    place = tenant.pk if tenant is not None else None
    with tenant_or_platform_scope(place):
        return publish(event, tenant_id=place)
