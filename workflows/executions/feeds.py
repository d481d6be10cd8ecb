"""The feed of an environment's executions: who reads it now, how far it has been read, and when it is due.

A reader holds the feed by a lease with a rising fence that every write checks.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db.models import F, Q

from core import clock
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Environment, ExecutionFeed

LEASE_SECONDS = 120


class Overtaken(Exception):
    """Another worker reads these executions now; this round must write nothing more."""


class Gap(msgspec.Struct, frozen=True):
    """Executions that have not been read yet: numbers below ``below`` and above ``down_to`` (None: to the oldest kept).

    ``cursor`` is n8n's own, of the page with which reading goes on.
    """

    cursor: str
    below: int | None = None
    down_to: int | None = None


def gaps_of(feed: ExecutionFeed) -> list[Gap]:
    """The stored gaps, the newest first."""
    return msgspec.convert(feed.gaps, list[Gap])


def gaps_to_json(gaps: list[Gap]) -> list[dict[str, Any]]:
    """For ``ExecutionFeed.gaps``."""
    stored: list[dict[str, Any]] = msgspec.to_builtins(gaps)
    return stored


def oldest_kept(now: datetime) -> datetime:
    """Executions that began before this moment are not kept."""
    return now - timedelta(days=settings.EXECUTION_DAYS)


def ensure_feed(environment: Environment) -> ExecutionFeed:
    """The environment's feed, made due at once where there is none."""
    with tenant_scope(environment.tenant_id):
        return ExecutionFeed.objects.get_or_create(
            environment=environment, defaults={"tenant_id": environment.tenant_id, "next_at": clock.now()}
        )[0]


def claim(environment: Environment) -> ExecutionFeed | None:
    """Take the feed for one round; None while another worker holds it or enough others are being read."""
    feed, now = ensure_feed(environment), clock.now()
    if _readers(now) >= settings.EXECUTION_READERS:
        return None
    with tenant_scope(environment.tenant_id):
        free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
        claimed = ExecutionFeed.objects.filter(free, pk=feed.pk).update(
            fence=F("fence") + 1, leased_until=now + timedelta(seconds=LEASE_SECONDS)
        )
        if claimed != 1:
            return None
        feed.refresh_from_db()
        return feed


def _readers(now: datetime) -> int:
    """How many environments are being read: slow instances must leave workers free for what people wait for."""
    with platform_scope():
        return ExecutionFeed.objects.filter(leased_until__gte=now).count()


@contextlib.contextmanager
def held(environment: Environment, feed: ExecutionFeed) -> Iterator[Callable[..., None]]:
    """A transaction that commits only while this round still holds the feed; yields a function that saves its row."""

    def save(**changes: Any) -> None:
        lease = {"leased_until": clock.now() + timedelta(seconds=LEASE_SECONDS), **changes}
        if ExecutionFeed.objects.filter(pk=feed.pk, fence=feed.fence).update(**lease) != 1:
            raise Overtaken
        for name, value in changes.items():
            setattr(feed, name, value)

    with tenant_scope(environment.tenant_id):
        yield save


def environment_ids_due(now: datetime, *, at_most: int) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(tenant, environment) of feeds whose time has come and that nobody reads. Needs the platform's scope."""
    free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    due = ExecutionFeed.objects.filter(free, next_at__lte=now, environment__is_archived=False)
    return list(due.order_by("next_at").values_list("tenant_id", "environment_id")[:at_most])
