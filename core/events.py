"""What an app declares of news: events that it publishes, consumers of others' events, and handlers called at once.

Three ways for news to travel upward, from the loosest to the closest:

- An **event** is written to the outbox in the transaction of its cause and handled later, in order, by each consumer.
- A **step handler** is a step of the job that has the news: the job ends after it, and shows what it answered.
- An **in-transaction handler** is called inside the very transaction: what it writes commits with the cause or not at
  all.

All names here are stored, or stand in logs and on pages: they are plain strings, and stay when a module is renamed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

E = TypeVar("E")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """An event that the app publishes: its stored name (``drift.found``), the version that it is written in, and words.

    ``upgrades`` maps each older version to a function that makes the next one of its payload, so that events which
    were written by an older console are read as today's.
    """

    name: str
    payload: type[msgspec.Struct]
    words: str
    version: int = 1
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery(Generic[E]):
    """One event on its way to one consumer. ``tenant_id`` None: the platform's."""

    consumer: str
    event_id: uuid.UUID
    tenant_id: uuid.UUID | None
    occurred_at: datetime
    event: E
    #: Who caused it and through which door (``core.context.ActionContext.to_dict``).
    caused_by: Mapping[str, str]

    @property
    def idempotency_key(self) -> str:
        """For long work that the consumer starts: the same at every try."""
        return f"{self.consumer}:{self.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Who handles events of these types. ``name`` is stored: with it stands how far the consumer has read.

    ``handle`` runs in the scope of the event's tenant (or the platform's), in the transaction that moves the cursor:
    what it writes is written once. It may be called again after a crash, so it reaches nothing outside the database;
    long work it starts as an operation with ``delivery.idempotency_key``.
    """

    name: str
    events: tuple[type[msgspec.Struct], ...]
    handle: Callable[[Delivery[Any]], None]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTransactionHandler:
    """Called inside the transaction of a notice (an object of the class ``of``); its failure undoes the cause.

    Reaches nothing outside the database. What it returns goes to whoever gave the notice.
    """

    name: str
    of: type[Any]
    handle: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHandler:
    """Called with a notice in a step of the job that has it, outside any scope; the step is named after the handler.

    The step may be repeated after a crash. What it returns is JSON-able and is kept on the step.
    """

    name: str
    of: type[Any]
    handle: Callable[[Any], Any]
    #: What the step is called on the page of the job, where the job has no words of its own for it.
    title: str = "Look at what was found"
