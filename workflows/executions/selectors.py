"""Lists of executions, and how far they are read. All need the tenant's scope; ``counting`` counts them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from core.days import parts_by_day
from core.paging import Page, by_time
from workflows.models import Execution, ExecutionFeed, MapStatus, WorkflowEnvMap

from .feeds import Gap, gaps_of
from .statuses import ENDED, FAILED, FILTERS, OPEN

BY_HAND = ("manual", "evaluation")
SHOWN_OF_A_WORKFLOW = 20


# -- lists ------------------------------------------------------------------------------------------------------------


def executions(
    *,
    environment_id: uuid.UUID,
    status: str = "",
    workflow_ids: Collection[str] | None = None,
    since: datetime | None = None,
) -> QuerySet[Execution]:
    """Executions of an environment. ``status`` is one of n8n's words, ``failed`` or ``open``."""
    rows = Execution.objects.filter(environment_id=environment_id)
    if status:
        rows = rows.filter(status__in=FILTERS[status])
    if workflow_ids is not None:
        rows = rows.filter(env_workflow_id__in=list(workflow_ids))
    if since is not None:
        rows = rows.filter(sorted_at__gte=since)
    return rows


def page(*, cursor: str = "", limit: int = 50, **narrowed: Any) -> Page:
    """One page of ``executions``, the newest first."""
    rows = executions(**narrowed).select_related("canonical_workflow")
    return by_time(rows, cursor=cursor, limit=limit, field="sorted_at")


def workflow_ids_named(environment_id: uuid.UUID, q: str) -> list[str]:
    """n8n's ids of the workflows whose name there, key or id a person typed; at most 500.

    What was typed counts as an id itself: a workflow may have run that no capture has seen.
    """
    wanted = q.strip()
    mappings = WorkflowEnvMap.objects.filter(environment_id=environment_id).exclude(env_workflow_id="")
    alike = Q(env_name__icontains=wanted) | Q(canonical_workflow__key=wanted) | Q(env_workflow_id=wanted)
    return [wanted[:64], *mappings.filter(alike).values_list("env_workflow_id", flat=True)[:500]]


def names_of(environment_id: uuid.UUID, workflow_ids: Iterable[str]) -> dict[str, WorkflowEnvMap]:
    """The mapping of each workflow by n8n's id there, with its name and key."""
    mappings = WorkflowEnvMap.objects.filter(environment_id=environment_id, env_workflow_id__in=set(workflow_ids))
    mappings = mappings.exclude(status=MapStatus.DELETED).select_related("canonical_workflow")
    return {mapping.env_workflow_id: mapping for mapping in mappings.defer("fingerprint", "git_fingerprint")}


def waiting_for_retry(environment_id: uuid.UUID) -> QuerySet[Execution]:
    """Failed executions without a retry that succeeded or is under way."""
    retries = Execution.objects.filter(
        environment_id=environment_id, retry_of=OuterRef("number"), status__in=["success", *OPEN]
    )
    return Execution.objects.filter(environment_id=environment_id, status__in=FAILED).exclude(Exists(retries))


def retried(environment_id: uuid.UUID, numbers: Collection[int]) -> dict[int, Execution]:
    """The last retry of each of these executions."""
    rows = Execution.objects.filter(environment_id=environment_id, retry_of__in=list(numbers)).order_by("number")
    return {row.retry_of: row for row in rows if row.retry_of is not None}


# -- how far they are read --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page says of how far an environment's executions are read."""

    feed: ExecutionFeed | None
    gaps: list[Gap] = field(default_factory=list)

    @property
    def read_at(self) -> datetime | None:
        return self.feed.read_at if self.feed else None

    @property
    def trouble(self) -> dict[str, Any] | None:
        return self.feed.trouble if self.feed else None

    @property
    def failing(self) -> bool:
        """Whether the last round could not be read at all."""
        return bool(self.feed and self.feed.failures)

    @property
    def can_retry(self) -> bool | None:
        return self.feed.can_retry if self.feed else None

    @property
    def missing(self) -> int | None:
        """About how many executions are not read yet, by n8n's numbers; None where nobody knows."""
        spans = [gap.below - gap.down_to - 1 for gap in self.gaps if gap.below and gap.down_to is not None]
        return sum(spans) if len(spans) == len(self.gaps) else None


def reading(environment_id: uuid.UUID) -> Reading:
    """How far the environment's executions are read."""
    feed = ExecutionFeed.objects.filter(environment_id=environment_id).first()
    return Reading(feed, gaps_of(feed) if feed else [])


def reading_row(found: Reading) -> dict[str, Any]:
    """The fields of ``schemas.ReadingOut``."""
    return {
        "read_at": found.read_at,
        "complete": bool(found.read_at) and not found.gaps and not found.failing,
        "missing": found.missing if found.gaps else 0,
        "trouble": found.trouble,
        "can_retry": found.can_retry,
    }


# -- rows for programs ------------------------------------------------------------------------------------------------


def execution_row(execution: Execution, mapping: WorkflowEnvMap | None = None) -> dict[str, Any]:
    """The fields of ``schemas.ExecutionOut``."""
    return {
        "id": str(execution.pk),
        "execution_id": execution.env_execution_id,
        "environment_id": str(execution.environment_id),
        "workflow_id": execution.env_workflow_id,
        "workflow_key": mapping.canonical_workflow.key if mapping else None,
        "workflow_name": mapping.env_name if mapping else None,
        "status": execution.status,
        "mode": execution.mode,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "duration_ms": execution.duration_ms,
        "retry_of": str(execution.retry_of) if execution.retry_of else None,
        "version_id": execution.version_id or None,
    }


#: What an execution came to, from the bottom of a column: word, state whose colour it has, and which rows.
_OUTCOMES = (
    ("Succeeded", "completed", Q(status="success")),
    ("Cancelled", "cancelled", Q(status="canceled")),
    ("Failed", "failed", Q(status__in=FAILED)),
)


def outcomes_by_day(environment_id: uuid.UUID) -> dict[str, Any]:
    """``outcomes_by_day`` of the week that is kept and the ``outcomes`` they are cut into, for a chart. One query."""
    ended = Execution.objects.filter(environment_id=environment_id, status__in=ENDED).exclude(mode__in=BY_HAND)
    rows = parts_by_day(ended, [part for _, _, part in _OUTCOMES], field="sorted_at", days=7)
    return {"outcomes": [(word, state) for word, state, _ in _OUTCOMES], "outcomes_by_day": rows}
