"""Writes about executions: ask for a reading, start a retry."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from core import clock, support
from core.errors import Invalid, NotFound
from operations import services as operations
from operations.models import Operation
from tenants.models import User
from tenants.scope import platform_scope, tenant_scope
from workflows.errors import EnvironmentArchived, NoApiKey
from workflows.gateway import environment_by_id
from workflows.models import Environment, Execution, ExecutionFeed

from . import feeds, selectors
from .errors import NothingToRetry, RetryUnsupported, TooManyToRetry
from .reading import number_of
from .tasks import read_executions

logger = logging.getLogger(__name__)

RETRY_KIND = "executions.retry"
RETRIES_AT_MOST = 200
STARTED_AT_ONCE = 200
READ_AGAIN_AFTER = timedelta(seconds=20)


def wake_due() -> int:
    """The beat's round: give every environment a feed and a worker to those that are due; how many were due."""
    with platform_scope():
        existing = ExecutionFeed.objects.filter(environment_id=OuterRef("pk"))
        lacking = list(
            Environment.objects.filter(~Exists(existing), is_archived=False).exclude(api_key_encrypted="")[
                :STARTED_AT_ONCE
            ]
        )
    for environment in lacking:
        feeds.ensure_feed(environment)
    with platform_scope():
        due = feeds.environment_ids_due(clock.now(), at_most=STARTED_AT_ONCE)
    for tenant_id, environment_id in due:
        _wake(tenant_id, environment_id)
    return len(due)


def read_soon(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> None:
    """Have an environment's executions read now, unless they were read in the last seconds.

    Raises ``NotFound``, ``EnvironmentArchived`` or ``NoApiKey``.
    """
    support.refuse_reading_only("Reading n8n's executions")
    environment = environment_by_id(tenant_id, environment_id)
    _refuse_unreachable(environment)
    feed = feeds.ensure_feed(environment)
    if feed.read_at is not None and clock.now() - feed.read_at < READ_AGAIN_AFTER:
        return
    with tenant_scope(tenant_id):
        ExecutionFeed.objects.filter(pk=feed.pk).update(next_at=clock.now())
        transaction.on_commit(lambda: _wake(tenant_id, environment_id))


def _wake(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> None:
    try:
        read_executions.apply_async(args=[str(tenant_id), str(environment_id)], retry=False, expires=60)
    except Exception:
        logger.warning("could not wake a worker; the next round will", exc_info=True)


def _refuse_unreachable(environment: Environment) -> None:
    if environment.is_archived:
        raise EnvironmentArchived(details={"environment_id": str(environment.pk)})
    if not environment.api_key_encrypted:
        raise NoApiKey(details={"environment_id": str(environment.pk)})


def start_retry(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    requested_by: User,
    executions: Sequence[str] = (),
    since: datetime | None = None,
    workflow: str = "",
    idempotency_key: str | None = None,
) -> Operation:
    """Retry failed executions that wait for it: chosen ones (our ids or n8n's numbers), or all that began ``since``.

    ``workflow`` (key, n8n's id or part of the name) narrows either down. Those with a retry that succeeded or is under
    way are left out. Raises ``NotFound`` for ids that are not there, ``NothingToRetry``, ``TooManyToRetry``,
    ``RetryUnsupported`` where the instance is known to lack the call, and ``Busy`` while something writes there.
    """
    environment = environment_by_id(tenant_id, environment_id)
    with tenant_scope(tenant_id):
        rows = retriable(environment, executions=executions, since=since, workflow=workflow)
        found = list(rows.order_by("number").values_list("number", "env_workflow_id")[: RETRIES_AT_MOST + 1])
        if not found:
            raise NothingToRetry
        if len(found) > RETRIES_AT_MOST:
            raise TooManyToRetry(details={"failed": rows.count(), "at_most": RETRIES_AT_MOST})
        _refuse_unreachable(environment)
        if selectors.reading(environment.pk).can_retry is False:
            raise RetryUnsupported(details={"environment_id": str(environment.pk)})
        count = len(found)
        params: dict[str, Any] = {
            "environment_id": str(environment.pk),
            "executions": [{"number": number, "workflow_id": workflow_id} for number, workflow_id in found],
        }
        return operations.start(
            tenant_id=tenant_id,
            kind=RETRY_KIND,
            title=f"Retry {count} failed execution{'s' if count > 1 else ''} in {environment.name}",
            params=params,
            requested_by=requested_by,
            environment_id=environment.pk,
            exclusive_key=environment.write_lock,
            idempotency_key=idempotency_key,
        )


def retriable(
    environment: Environment, *, executions: Sequence[str], since: datetime | None, workflow: str = ""
) -> QuerySet[Execution]:
    """The executions that ``start_retry`` would retry. Needs the tenant's scope; raises ``NotFound``, ``Invalid``."""
    rows = selectors.waiting_for_retry(environment.pk)
    if executions:
        rows = rows.filter(_chosen(environment.pk, executions))
    elif since is None:
        raise Invalid("Say which: `execution_ids`, or `since` for all that failed after a moment.")
    else:
        # A failed retry is not retried itself: the execution that it repeats is retried again.
        rows = rows.filter(retry_of__isnull=True).exclude(mode__in=selectors.BY_HAND)
    if since is not None:
        rows = rows.filter(sorted_at__gte=since)
    if workflow.strip():
        rows = rows.filter(env_workflow_id__in=selectors.workflow_ids_named(environment.pk, workflow))
    return rows


def _chosen(environment_id: uuid.UUID, executions: Sequence[str]) -> Q:
    """The rows that these ids name; ``NotFound`` if one names none."""
    if len(executions) > RETRIES_AT_MOST:
        raise TooManyToRetry(details={"chosen": len(executions), "at_most": RETRIES_AT_MOST})
    keys, numbers = set[uuid.UUID](), set[int]()
    for execution_id in executions:
        number = number_of(execution_id)
        if number is not None:
            numbers.add(number)
            continue
        try:
            keys.add(uuid.UUID(execution_id))
        except ValueError as error:
            raise NotFound from error
    named = Q(pk__in=keys) | Q(number__in=numbers)
    if Execution.objects.filter(named, environment_id=environment_id).count() < len(keys) + len(numbers):
        raise NotFound
    return named
