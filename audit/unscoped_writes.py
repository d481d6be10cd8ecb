"""Writes outside any scope (a person's password, a sign-in) tell the trail who is acting as well.

A scope announces the context to PostgreSQL when it opens. A write outside has nobody to announce it: Django's own code
and that of packages saves people and sign-ins wherever it likes. So such a write gets a transaction of its own, in
which the context is announced first. Reads, and everything inside a scope, pass untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from core import context
from tenants.scope import current_scope

_WRITES = ("INSERT", "UPDATE", "DELETE")
_ANNOUNCE = (
    "SELECT set_config('opsconsole.actor_id', %s, true), set_config('opsconsole.acting_as_id', %s, true),"
    " set_config('opsconsole.session_id', %s, true), set_config('opsconsole.request_id', %s, true),"
    " set_config('opsconsole.operation_id', %s, true), set_config('opsconsole.source', %s, true),"
    " set_config('opsconsole.ip_address', %s, true)"
)


def announce_outside_scopes(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of ``connection_created``."""
    if connection.vendor == "postgresql" and _announced not in connection.execute_wrappers:
        connection.execute_wrappers.append(_announced)


def _announced(execute: Callable[..., Any], sql: Any, params: Any, many: bool, wrapped: dict[str, Any]) -> Any:
    if current_scope() is not None or not isinstance(sql, str) or not sql.startswith(_WRITES):
        return execute(sql, params, many, wrapped)
    connection = wrapped["connection"]
    if connection.in_atomic_block:
        _announce(connection)
        return execute(sql, params, many, wrapped)
    with transaction.atomic(using=connection.alias):
        _announce(connection)
        return execute(sql, params, many, wrapped)


def _announce(connection: BaseDatabaseWrapper) -> None:
    acting = context.current()
    values = [
        str(acting.actor_id or ""), str(acting.acting_as_id or ""), str(acting.session_id or ""), acting.request_id,
        str(acting.operation_id or ""), acting.source, acting.ip_address,
    ]  # fmt: skip
    # Below Django's cursor, so that it counts as part of the write.
    with connection.connection.cursor() as cursor:
        cursor.execute(_ANNOUNCE, values)
