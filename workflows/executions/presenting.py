"""What pages show of executions. Needs the tenant's scope where it asks for rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workflows.models import Environment, Execution, ExecutionFeed, WorkflowEnvMap
from workflows.selectors import HERE, Cell, Row

from . import counting, selectors
from .notes import RunNote
from .statuses import FAILED, OPEN

#: The symbol and the word for each of n8n's statuses.
LOOKS = {
    "success": ("succeeded", "Succeeded"),
    "error": ("failed", "Failed"),
    "crashed": ("failed", "Crashed"),
    "canceled": ("cancelled", "Canceled"),
    "running": ("running", "Running"),
    "waiting": ("pending", "Waiting"),
    "new": ("queued", "Queued"),
}
STATUSES = (
    ("", "Every status"),
    ("failed", "Failed or crashed"),
    ("success", "Succeeded"),
    ("open", "Not ended"),
    ("canceled", "Canceled"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One execution in a list. ``retry`` is its last retry, ``may_retry`` whether it can be chosen."""

    execution: Execution
    name: str
    key: str
    mark: str
    word: str
    url: str
    retry: Execution | None
    may_retry: bool

    @property
    def seconds(self) -> float | None:
        duration = self.execution.duration_ms
        return duration / 1000 if duration is not None else None


def lines_of(environment: Environment, executions: Sequence[Execution]) -> list[Line]:
    """Executions with their names and retries; two queries."""
    mappings = selectors.names_of(environment.pk, [execution.env_workflow_id for execution in executions])
    failed = [execution.number for execution in executions if execution.status in FAILED]
    retries = selectors.retried(environment.pk, failed) if failed else {}
    return [_line(environment, one, mappings.get(one.env_workflow_id), retries.get(one.number)) for one in executions]


def _line(
    environment: Environment, execution: Execution, mapping: WorkflowEnvMap | None, retry: Execution | None
) -> Line:
    mark, word = LOOKS.get(execution.status, ("unknown", execution.status.capitalize() or "Unknown"))
    settled = retry is not None and retry.status in ("success", *OPEN)
    return Line(
        execution,
        mapping.env_name if mapping else "",
        mapping.canonical_workflow.key if mapping else "",
        mark,
        word,
        url_in_n8n(environment, execution),
        retry,
        execution.status in FAILED and not settled,
    )


def url_in_n8n(environment: Environment, execution: Execution) -> str:
    """Where n8n's editor shows the execution; '' where the workflow is not known."""
    workflow = environment.editor_url(execution.env_workflow_id)
    return f"{workflow}/executions/{execution.env_execution_id}" if workflow else ""


# -- the matrix -------------------------------------------------------------------------------------------------------


def with_runs(rows: Sequence[Row]) -> list[Row]:
    """The matrix's rows, each cell with a note on whether its workflow runs. Two queries."""
    cells = [cell for row in rows for cell in row.cells]
    states = counting.states_of([(cell.environment.pk, _workflow_id(cell)) for cell in cells if _workflow_id(cell)])
    read = _environments_read()
    return [replace(row, cells=[replace(cell, runs=_note(cell, states, read)) for cell in row.cells]) for row in rows]


def _environments_read() -> set[uuid.UUID]:
    """Environments whose executions have been read to the end at least once."""
    return set(ExecutionFeed.objects.exclude(read_at=None).values_list("environment_id", flat=True))


def _note(cell: Cell, states: dict[counting.Location, counting.State], read: set[uuid.UUID]) -> RunNote | None:
    mapping = cell.mapping
    if mapping is None or not mapping.env_workflow_id or mapping.environment_id not in read:
        return None
    state = states.get((mapping.environment_id, mapping.env_workflow_id))
    if state is None:
        expected = mapping.env_active and mapping.status in HERE
        return RunNote("no run known", "No execution of the last days is known") if expected else None
    failures = f"; {state.failed_day} failed in the last 24 hours" if state.failed_day else ""
    word, ended = ("failing", "failed") if state.failing else ("last run", "succeeded")
    return RunNote(word, f"The last execution {ended}{failures}", state.failing, state.last_at, state.failed_day)


# -- one workflow -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EnvironmentRuns:
    """How a workflow runs in one environment."""

    environment: Environment
    stats: counting.Stats
    is_read: bool

    @property
    def p50_seconds(self) -> float | None:
        return self.stats.p50_ms / 1000 if self.stats.p50_ms is not None else None

    @property
    def p95_seconds(self) -> float | None:
        return self.stats.p95_ms / 1000 if self.stats.p95_ms is not None else None


@dataclass(frozen=True, slots=True)
class WorkflowRuns:
    """The section *Executions* of a workflow's page: each environment, and one of them in detail."""

    environments: list[EnvironmentRuns]
    shown: Environment | None
    lines: list[Line]
    versions: list[counting.VersionRuns]
    workflow_id: str = ""


def of_workflow(cells: Sequence[Cell], shown: Cell | None) -> WorkflowRuns:
    """What the page of a workflow shows of its executions. Six queries at most."""
    here = {cell.environment: workflow_id for cell in cells if (workflow_id := _workflow_id(cell))}
    stats = counting.stats_of([(environment.pk, workflow_id) for environment, workflow_id in here.items()])
    read = _environments_read()
    environments = [
        EnvironmentRuns(environment, stats[environment.pk, workflow_id], environment.pk in read)
        for environment, workflow_id in here.items()
    ]
    workflow_id = _workflow_id(shown) if shown is not None else ""
    if shown is None or not workflow_id:
        return WorkflowRuns(environments, None, [], [])
    environment = shown.environment
    newest = selectors.page(
        environment_id=environment.pk, workflow_ids=[workflow_id], limit=selectors.SHOWN_OF_A_WORKFLOW
    )
    total = stats[environment.pk, workflow_id].week
    versions = counting.versions_of(environment, workflow_id, total=total) if total.runs else []
    return WorkflowRuns(environments, environment, lines_of(environment, newest.rows), versions, workflow_id)


def _workflow_id(cell: Cell) -> str:
    """n8n's id of a cell's workflow; '' where it is not there."""
    return cell.mapping.env_workflow_id if cell.mapping is not None else ""


def of_environment(environment: Environment) -> dict[str, Any]:
    """The figures of an environment's page: ``{day, reading}``."""
    return {"day": counting.totals(environment.pk), "reading": selectors.reading(environment.pk)}
