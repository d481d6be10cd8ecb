"""Storing executions, and deleting them after a week. Everything here needs the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from core.texts import json_for_rows
from workflows.models import Environment, Execution

from .reading import ReportedExecution
from .statuses import OPEN, UNKNOWN

#: More than a round can bring.
FORGOTTEN_AT_ONCE = 30_000

_STORE = """
WITH written AS (
    INSERT INTO executions AS e (
        id, tenant_id, environment_id, canonical_workflow_id, env_execution_id, number, env_workflow_id, status, mode,
        started_at, ended_at, duration_ms, retry_of, version_id, sorted_at, seen_at)
    SELECT gen_random_uuid(), %(tenant)s, %(environment)s, m.canonical_workflow_id, r.number::text, r.number,
           r.workflow_id, r.status, r.mode, r.started_at, r.ended_at, r.duration_ms, r.retry_of, r.version_id,
           coalesce(r.started_at, %(now)s), %(now)s
      FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
           number bigint, workflow_id text, status text, mode text, started_at timestamptz, ended_at timestamptz,
           duration_ms int, retry_of bigint, version_id text)
      LEFT JOIN workflow_env_map m ON m.environment_id = %(environment)s AND m.env_workflow_id = r.workflow_id
           AND m.env_workflow_id <> '' AND m.status <> 'deleted'
    ON CONFLICT (environment_id, number) DO UPDATE SET
        canonical_workflow_id = coalesce(excluded.canonical_workflow_id, e.canonical_workflow_id),
        env_workflow_id = excluded.env_workflow_id, status = excluded.status, mode = excluded.mode,
        started_at = excluded.started_at, ended_at = excluded.ended_at, duration_ms = excluded.duration_ms,
        retry_of = excluded.retry_of, version_id = coalesce(nullif(excluded.version_id, ''), e.version_id),
        sorted_at = coalesce(excluded.started_at, e.sorted_at), seen_at = excluded.seen_at
    WHERE (e.status, e.env_workflow_id, e.started_at, e.ended_at) IS DISTINCT FROM
          (excluded.status, excluded.env_workflow_id, excluded.started_at, excluded.ended_at)
       OR excluded.version_id NOT IN ('', e.version_id) OR e.status = ANY(%(open)s)
    RETURNING number, xmax = 0 AS is_new
)
SELECT number, is_new FROM written
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """Numbers of the executions that were not known, and of those that had changed."""

    new: frozenset[int]
    changed: frozenset[int]


def store(*, environment: Environment, runs: Sequence[ReportedExecution], now: datetime) -> Stored:
    """Store executions. One statement; unchanged rows are not written."""
    if not runs:
        return Stored(frozenset(), frozenset())
    values: dict[str, Any] = {
        "tenant": environment.tenant_id,
        "environment": environment.pk,
        "rows": json_for_rows(list(runs)),
        "now": now,
        "open": list(OPEN),
    }
    with connection.cursor() as cursor:
        cursor.execute(_STORE, values)
        written = cursor.fetchall()
    new = frozenset(number for number, is_new in written if is_new)
    return Stored(new, frozenset(number for number, is_new in written if not is_new))


def open_ones(environment_id: uuid.UUID) -> set[int]:
    """Numbers of those that had not ended when they were last read; the newest thousand."""
    rows = Execution.objects.filter(environment_id=environment_id, status__in=OPEN)
    return set(rows.order_by("-number").values_list("number", flat=True)[:1000])


def longest_unseen(environment_id: uuid.UUID, *, before: datetime, at_most: int) -> list[int]:
    """Numbers of open executions that no list has shown since ``before``, the longest unseen first."""
    rows = Execution.objects.filter(environment_id=environment_id, status__in=OPEN, seen_at__lt=before)
    return list(rows.order_by("seen_at").values_list("number", flat=True)[:at_most])


def note_gone(environment_id: uuid.UUID, number: int, *, now: datetime) -> None:
    """n8n no longer has the execution: it deletes those that it is not to keep when they end."""
    rows = Execution.objects.filter(environment_id=environment_id, number=number, status__in=OPEN)
    rows.update(status=UNKNOWN, seen_at=now)


def forget(environment_id: uuid.UUID, *, older_than: datetime) -> int:
    """Delete what is kept no longer, a bounded number at a time; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM executions WHERE id IN ("
            "SELECT id FROM executions WHERE environment_id = %s AND sorted_at < %s LIMIT %s)",
            [environment_id, older_than, FORGOTTEN_AT_ONCE],
        )
        forgotten = cursor.rowcount
        cursor.execute(
            "DELETE FROM workflow_live_versions WHERE environment_id = %s AND live_until < %s",
            [environment_id, older_than],
        )
    found: int = forgotten
    return found


def forget_most(environment_id: uuid.UUID, *, keep: int) -> int:
    """Delete the oldest beyond ``keep``, a bounded number at a time; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM executions WHERE id IN (SELECT id FROM executions WHERE environment_id = %s"
            " ORDER BY number DESC OFFSET %s LIMIT %s)",
            [environment_id, keep, FORGOTTEN_AT_ONCE],
        )
        found: int = cursor.rowcount
        return found


def link(environment_id: uuid.UUID) -> int:
    """Link executions that were read before their workflow was captured; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions e SET canonical_workflow_id = m.canonical_workflow_id FROM workflow_env_map m"
            " WHERE e.environment_id = %s AND e.canonical_workflow_id IS NULL AND m.environment_id = e.environment_id"
            " AND m.env_workflow_id = e.env_workflow_id AND m.env_workflow_id <> '' AND m.status <> 'deleted'",
            [environment_id],
        )
        found: int = cursor.rowcount
        return found
