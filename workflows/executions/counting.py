"""Whether workflows run, in numbers: counts, rates, durations, by workflow and by the version that ran.

What people run by hand in n8n's editor is left out: it says nothing about production. All need the tenant's scope.
"""

# ruff: noqa: S608 -- queries are put together from this module's constants

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from core import clock
from workflows.models import Environment, MapStatus, WorkflowEnvMap

from .feeds import oldest_kept
from .statuses import FAILED

DAY, WEEK = timedelta(days=1), timedelta(days=7)
_HERE = (MapStatus.LINKED, MapStatus.UNMAPPED)

#: One workflow in one environment: the environment's id and n8n's id of the workflow.
Location = tuple[uuid.UUID, str]


@dataclass(frozen=True, slots=True)
class Count:
    """Runs that ended in a span of time, and how many failed."""

    runs: int = 0
    failed: int = 0

    @property
    def error_rate(self) -> float | None:
        """From 0 to 1; None where nothing ran."""
        return self.failed / self.runs if self.runs else None

    @property
    def percent(self) -> str:
        """The error rate for people; '' where nothing ran. Never 0 or 100 where it is not exactly that."""
        rate = self.error_rate
        if rate is None:
            return ""
        if rate in (0, 1):
            return f"{rate:.0%}"
        return f"{min(max(rate * 100, 0.1), 99.9):.1f}%"


@dataclass(frozen=True, slots=True)
class Stats:
    """How a workflow runs in one environment. Durations in milliseconds, of the runs that succeeded in a week."""

    day: Count = Count()
    week: Count = Count()
    p50_ms: int | None = None
    p95_ms: int | None = None
    last_status: str = ""
    last_at: datetime | None = None

    @property
    def failing(self) -> bool:
        return self.last_status in FAILED


@dataclass(frozen=True, slots=True)
class State:
    """Whether a workflow runs: how its last run ended, and how many failed in a day."""

    last_status: str
    last_at: datetime
    failed_day: int = 0

    @property
    def failing(self) -> bool:
        return self.last_status in FAILED


@dataclass(frozen=True, slots=True)
class VersionRuns:
    """The runs of a week by the version that ran; ``content_hash`` '' means *unknown*."""

    content_hash: str
    version_id: str
    live_from: datetime | None
    live_until: datetime | None
    count: Count


# -- in numbers -------------------------------------------------------------------------------------------------------

#: As literals, so that the planner takes the partial indexes.
_FAILED = "('error', 'crashed')"
_ENDED = "('error', 'crashed', 'success', 'canceled')"
_BY_HAND = "('manual', 'evaluation')"
_ASKED = "unnest(%(environments)s::uuid[], %(workflows)s::text[]) AS p(environment_id, env_workflow_id)"
#: Which workflows failed lately, wherever they did: environments, since when. Takes the index of what failed.
FAILED_SINCE = (
    "SELECT e.environment_id, e.env_workflow_id FROM executions e WHERE e.environment_id = ANY(%s)"
    f" AND e.status IN {_FAILED} AND e.sorted_at >= %s AND e.mode NOT IN {_BY_HAND}"
)
_OF_LOCATION = (
    "e.environment_id = p.environment_id AND e.env_workflow_id = p.env_workflow_id"
    f" AND e.status IN {_ENDED} AND e.mode NOT IN {_BY_HAND}"
)
_LAST = f"""
LEFT JOIN LATERAL (SELECT e.status, e.sorted_at FROM executions e WHERE {_OF_LOCATION}
                    ORDER BY e.sorted_at DESC LIMIT 1) last ON true
"""
_STATS = f"""
SELECT p.environment_id, p.env_workflow_id, s.runs_day, s.failed_day, s.runs, s.failed, s.p50, s.p95,
       last.status, last.sorted_at
  FROM {_ASKED}
  JOIN LATERAL (
       SELECT count(*) FILTER (WHERE e.sorted_at >= %(day)s) AS runs_day,
              count(*) FILTER (WHERE e.sorted_at >= %(day)s AND e.status IN {_FAILED}) AS failed_day,
              count(*) AS runs, count(*) FILTER (WHERE e.status IN {_FAILED}) AS failed,
              percentile_disc(0.5) WITHIN GROUP (ORDER BY e.duration_ms) FILTER (WHERE e.status = 'success') AS p50,
              percentile_disc(0.95) WITHIN GROUP (ORDER BY e.duration_ms) FILTER (WHERE e.status = 'success') AS p95
         FROM executions e WHERE {_OF_LOCATION} AND e.sorted_at >= %(week)s) s ON true
{_LAST}
"""
_STATES = f"""
SELECT p.environment_id, p.env_workflow_id, coalesce(f.failed, 0), last.status, last.sorted_at
  FROM {_ASKED}
  LEFT JOIN (SELECT e.environment_id, e.env_workflow_id, count(*) AS failed FROM executions e
              WHERE e.environment_id = ANY(%(environments)s::uuid[]) AND e.status IN {_FAILED}
                AND e.sorted_at >= %(day)s AND e.mode NOT IN {_BY_HAND}
              GROUP BY 1, 2) f USING (environment_id, env_workflow_id)
{_LAST}
 WHERE last.status IS NOT NULL
"""
_BETWEEN = f"""
SELECT p.env_workflow_id, count(e.number), count(e.number) FILTER (WHERE e.status IN {_FAILED})
  FROM {_ASKED} JOIN executions e ON {_OF_LOCATION} AND e.sorted_at >= %(since)s AND e.sorted_at < %(until)s
 GROUP BY 1
"""
_VERSIONS = f"""
SELECT v.content_hash, v.version_id, v.live_from, v.live_until, s.runs, s.failed
  FROM {_ASKED}
  JOIN workflow_live_versions v ON v.environment_id = p.environment_id AND v.env_workflow_id = p.env_workflow_id
  JOIN LATERAL (
       SELECT count(*) AS runs, count(*) FILTER (WHERE e.status IN {_FAILED}) AS failed
         FROM executions e WHERE {_OF_LOCATION} AND e.sorted_at >= %(week)s AND e.started_at IS NOT NULL
          AND e.sorted_at >= v.live_from AND e.version_id IN ('', v.version_id)
          AND (e.sorted_at <= coalesce(v.live_until, %(captured)s)
               OR (v.live_until IS NULL AND e.version_id <> ''))) s ON true
 WHERE s.runs > 0 ORDER BY v.live_from DESC LIMIT 50
"""


def _rows(query: str, locations: Collection[Location], **values: Any) -> list[tuple[Any, ...]]:
    environments, workflows = [one[0] for one in locations], [one[1] for one in locations]
    asked: dict[str, Any] = {"environments": environments, "workflows": workflows}
    with connection.cursor() as cursor:
        cursor.execute(query, {**asked, **values})
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def stats_of(locations: Collection[Location]) -> dict[Location, Stats]:
    """How each of these workflows runs, with durations. One query."""
    if not locations:
        return {}
    now = clock.now()
    return {
        (environment, workflow): Stats(Count(d, df), Count(r, rf), p50, p95, last or "", at)
        for environment, workflow, d, df, r, rf, p50, p95, last, at in _rows(
            _STATS, locations, day=now - DAY, week=now - WEEK
        )
    }


def states_of(locations: Collection[Location]) -> dict[Location, State]:
    """Whether each of these workflows runs: its last run and the failures of a day. Quick for hundreds; one query.

    Those of which no run is known are left out.
    """
    if not locations:
        return {}
    return {
        (environment, workflow): State(last, at, failed)
        for environment, workflow, failed, last, at in _rows(_STATES, locations, day=clock.now() - DAY)
    }


def versions_of(environment: Environment, workflow_id: str, *, total: Count) -> list[VersionRuns]:
    """The week's runs of a workflow by the version that ran, the newest first, *unknown* last."""
    captured = environment.last_captured_at or clock.now()
    rows = _rows(_VERSIONS, [(environment.pk, workflow_id)], week=clock.now() - WEEK, captured=captured)
    found = [VersionRuns(h, v, since, until, Count(runs, failed)) for h, v, since, until, runs, failed in rows]
    runs = total.runs - sum(one.count.runs for one in found)
    failed = total.failed - sum(one.count.failed for one in found)
    return [*found, VersionRuns("", "", None, None, Count(runs, max(0, failed)))] if runs > 0 else found


def counts_between(locations: Collection[Location], since: datetime, until: datetime) -> dict[str, Count]:
    """Runs and failures of workflows of one environment in a span of time, by n8n's id."""
    found = _rows(_BETWEEN, locations, since=since, until=until) if locations else []
    return {workflow: Count(runs, failed) for workflow, runs, failed in found}


_TOTALS = f"""
SELECT count(*) FILTER (WHERE e.status IN {_ENDED}),
       count(*) FILTER (WHERE e.status IN {_FAILED}),
       count(DISTINCT e.env_workflow_id) FILTER (WHERE e.status IN {_FAILED})
  FROM executions e
 WHERE e.environment_id = %(environment)s AND e.sorted_at >= %(since)s AND e.mode NOT IN {_BY_HAND}
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """A day of an environment."""

    count: Count
    failing_workflows: int


def totals(environment_id: uuid.UUID) -> Totals:
    """The last day of an environment in numbers."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS, {"environment": environment_id, "since": clock.now() - DAY})
        runs, failed, workflows = cursor.fetchone()
    return Totals(Count(runs, failed), workflows)


# -- before and after a change ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A workflow before and after something was done to it."""

    name: str
    key: str
    workflow_id: str
    before: Count
    after: Count

    @property
    def verdict(self) -> str:
        """``worse``, ``better``, ``same``, or '' where one side never ran."""
        old, new = self.before.error_rate, self.after.error_rate
        if old is None or new is None:
            return ""
        return "worse" if new > old else "better" if new < old else "same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs before and after a span in which something was done; ``before_kept`` tells whether that much is kept."""

    rows: list[Change]
    before: Count
    after: Count
    before_since: datetime
    before_kept: bool


def before_and_after(
    environment: Environment, keys: Sequence[str], *, began: datetime, ended: datetime, until: datetime | None = None
) -> Comparison:
    """The workflows with these keys before ``began`` and after ``ended``, the worst first. Three queries.

    Before is as long a time as has passed since, at least a day. ``until`` ends the time after, where something else
    was done then.
    """
    now = until or clock.now()
    since = began - max(now - ended, DAY)
    locations = WorkflowEnvMap.objects.filter(
        environment=environment, canonical_workflow__key__in=list(keys), status__in=_HERE
    ).exclude(env_workflow_id="")
    named: Mapping[str, tuple[str, str]] = {
        workflow: (name, key)
        for workflow, name, key in locations.values_list("env_workflow_id", "env_name", "canonical_workflow__key")
    }
    asked = [(environment.pk, workflow) for workflow in named]
    before, after = counts_between(asked, since, began), counts_between(asked, ended, now)
    rows = [
        Change(name, key, workflow, before.get(workflow, Count()), after.get(workflow, Count()))
        for workflow, (name, key) in named.items()
    ]
    rows.sort(key=lambda row: (-(row.after.error_rate or 0), -row.after.runs, row.name, row.key))
    kept = since >= oldest_kept(clock.now())
    return Comparison(rows, _sum(before), _sum(after), since, kept)


def _sum(counts: Mapping[str, Count]) -> Count:
    return Count(sum(c.runs for c in counts.values()), sum(c.failed for c in counts.values()))
