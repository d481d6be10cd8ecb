"""The rows of steps: written in batches, each write fenced by the operation's row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from core import clock
from core.texts import json_for_rows

from .models import OperationStep, StepState


@dataclass(slots=True)
class Conclusion:
    """How a step ended."""

    name: str
    state: str
    result: Any = None
    error: dict[str, Any] | None = None


def load(operation_id: uuid.UUID) -> dict[str, OperationStep]:
    """The steps written so far, by name."""
    return {step.name: step for step in OperationStep.objects.filter(operation_id=operation_id)}


_COLUMNS = (
    "id", "tenant_id", "operation_id", "position", "name", "title", "state", "intent", "result", "error", "attempt",
    "fence", "started_at", "ended_at",
)  # fmt: skip
_BEGUN_AGAIN = ("state", "intent", "result", "error", "attempt", "fence", "started_at", "ended_at")
_WRITE_INTENTS = (
    f"INSERT INTO operation_steps ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)}"  # noqa: S608
    " FROM jsonb_populate_recordset(NULL::operation_steps, %s::jsonb) ON CONFLICT (operation_id, name) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _BEGUN_AGAIN)
)


def write_intents(steps: Iterable[OperationStep]) -> None:
    """Write steps as under way; one that is there already is begun again. One statement however many there are."""
    rows = [{name: getattr(step, name) for name in _COLUMNS} for step in steps]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_INTENTS, [json_for_rows(rows)])


def write_conclusions(operation_id: uuid.UUID, conclusions: Iterable[Conclusion]) -> None:
    """Write results; one statement however many there are."""
    rows = [{"name": c.name, "state": c.state, "result": c.result, "error": c.error} for c in conclusions]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE operation_steps s SET state = r.state, result = r.result, error = r.error, ended_at = %s"
            " FROM jsonb_to_recordset(%s::jsonb) AS r(name text, state text, result jsonb, error jsonb)"
            " WHERE s.operation_id = %s AND s.name = r.name",
            [clock.now(), json_for_rows(rows), operation_id],
        )


def is_done(step: OperationStep | None) -> bool:
    return step is not None and step.state == StepState.DONE
