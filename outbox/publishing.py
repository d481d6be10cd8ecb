"""Writing an event, in the transaction of its cause."""

from __future__ import annotations

import logging
import uuid

import msgspec
from celery import current_app
from django.db import connection, transaction

from core import clock, context
from core.registry import registry
from core.texts import json_for_rows
from tenants.scope import ScopeError, current_scope

from .documents import type_of

logger = logging.getLogger(__name__)

DELIVER_TASK = "outbox.tasks.deliver"
WAKE_EXPIRES_SECONDS = 30
#: Half the time of a model's ``create()``: each cause pays for it.
_PUBLISH = (
    "INSERT INTO outbox_events (id, tenant_id, name, version, payload, caused_by, occurred_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


def publish(event: msgspec.Struct, *, tenant_id: uuid.UUID | None) -> uuid.UUID:
    """Put an event of a tenant (None: of the platform) on record; its id.

    It commits or is undone with everything else in the scope in force. Raises ``ScopeError`` outside of any, and where
    the scope is another tenant's.
    """
    scope = current_scope()
    if scope is None:
        raise ScopeError("An event is published in the transaction of its cause, which is a scope.")
    if scope.tenant_id not in (None, tenant_id):
        raise ScopeError("An event of another tenant cannot be published in this one's scope.")
    declared = type_of(event)
    event_id = uuid.uuid4()
    values = [event_id, tenant_id, declared.name, declared.version, _json(event)]
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISH, [*values, _json(context.current().to_dict()), clock.now()])
    if any(declared.payload in consumer.events for consumer in registry.consumers().values()):
        _wake_after_commit()
    return event_id


def _json(value: msgspec.Struct | dict[str, str]) -> str:
    return json_for_rows(msgspec.to_builtins(value))


def _wake_after_commit() -> None:
    """Once for a transaction: unless the wake that is there could be undone with a savepoint that is not around us."""
    here = set(connection.savepoint_ids)
    if not any(entry[1] is wake and set(entry[0]) <= here for entry in connection.run_on_commit):
        transaction.on_commit(wake)


def wake() -> None:
    """Tell a worker that there is news. A broker that is away is no failure: beat looks every few seconds."""
    try:
        current_app.send_task(DELIVER_TASK, retry=False, expires=WAKE_EXPIRES_SECONDS)
    except Exception:
        logger.warning("could not wake a worker; beat will", exc_info=True)
