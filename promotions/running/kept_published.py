"""What a rollback leaves published because others call it: from n8n 2 on, what is called must be. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from snapshots.manifest import calls_in
from workflows.calling import Standing, kept_running, needs_published_callees
from workflows.models import Environment

from .target import Reading


def kept_for(
    target: Environment,
    reading: Reading,
    ending: Mapping[str, Standing],
    touched: Collection[str],
    *,
    before: Collection[tuple[str, str]] = (),
) -> dict[str, list[str]]:
    """Which of those that a way back would unpublish must run on: names of who calls them, by n8n id.

    ``ending`` is how they would be then. What runs and is not rolled back itself (``touched``) counts. ``before`` are
    calls (caller, called) that led nowhere before, and may do so again.
    """
    if not needs_published_callees(target):
        return {}
    now = {
        there: Standing(live.name, live.active, [c for c in live.calls if (there, c) not in before])
        for there, live in reading.workflows.items()
        if there in ending or there not in touched
    }
    return kept_running(now, ending)


def as_before(entry: Mapping[str, Any]) -> Standing:
    """How a workflow was that did not run before, from its entry in a manifest."""
    return Standing(str(entry.get("name") or entry["key"]), False, calls_in(entry))


def calls_of_running(manifest: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Caller and called, n8n ids, of what ran in a snapshot."""
    return {(str(e["env_workflow_id"]), ref) for e in manifest if e.get("active") for ref in calls_in(e)}
