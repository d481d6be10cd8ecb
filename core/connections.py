"""The web's pooled database connections: few, and everybody's."""

from __future__ import annotations

from django.db import connection


def release() -> None:
    """Give this thread's connection back to the pool before something slow; the next query takes one again.

    A request would keep it until its end: a dozen that wait for a job or for a slow n8n would stop every page of every
    tenant. Inside a transaction, and where there is no pool (workers), nothing happens.
    """
    is_pooled = bool(connection.settings_dict["OPTIONS"].get("pool"))
    if is_pooled and connection.connection is not None and not connection.in_atomic_block:
        connection.close()
