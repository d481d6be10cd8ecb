"""The rows of steps: written in batches, each write fenced by the operation's row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection

from opsconsole.core import clock

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


def write_intents(steps: Iterable[OperationStep]) -> None:
    """Write steps as under way; one that is there already is begun again."""
    OperationStep.objects.bulk_create(
        steps,
        update_conflicts=True,
        unique_fields=["operation", "name"],
        update_fields=["state", "intent", "result", "error", "attempt", "fence", "started_at", "ended_at"],
    )


def write_conclusions(operation_id: uuid.UUID, conclusions: list[Conclusion]) -> None:
    """Write results; one statement however many there are."""
    rows = [{"name": c.name, "state": c.state, "result": c.result, "error": c.error} for c in conclusions]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE operation_steps s SET state = r.state, result = r.result, error = r.error, ended_at = %s"
            " FROM jsonb_to_recordset(%s::jsonb) AS r(name text, state text, result jsonb, error jsonb)"
            " WHERE s.operation_id = %s AND s.name = r.name",
            [clock.now(), orjson.dumps(rows, default=str).decode(), operation_id],
        )


def is_done(step: OperationStep | None) -> bool:
    return step is not None and step.state in (StepState.DONE, StepState.SKIPPED)
