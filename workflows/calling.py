"""What other workflows call must keep running: from n8n 2 on a called workflow runs only if it is published. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.wording import quoted

from .models import Environment
from .references import STARTED_BY_OTHERS

_STARTERS = frozenset({"n8n-nodes-base.webhook", "n8n-nodes-base.cron", "n8n-nodes-base.interval"})
_NO_STARTERS = frozenset({"n8n-nodes-base.manualTrigger", "n8n-nodes-base.evaluationTrigger"})


@dataclass(frozen=True, slots=True)
class Standing:
    """A workflow at one time: whether it runs, and what it calls; ids or keys, the same throughout a comparison."""

    name: str
    runs: bool
    calls: Collection[str] = ()


def needs_published_callees(environment: Environment) -> bool:
    """Whether this n8n publishes versions: then a called workflow or error handler must be published to run."""
    return publishes_callees(environment.capabilities or {})


def publishes_callees(offers: Mapping[str, Any]) -> bool:
    """The same of the capabilities that an instance reports."""
    return bool(offers.get("activate_version"))


def can_be_active(content: Mapping[str, Any], *, called_count: bool = False) -> bool:
    """Whether n8n would publish the workflow: it needs a trigger, a poller or a webhook that is not disabled.

    ``called_count``: whether what is only called by others is published too, as from n8n 2 on.
    """
    for node in content.get("nodes") or ():
        kind = str(node.get("type") or "")
        if node.get("disabled") or kind in _NO_STARTERS or (kind in STARTED_BY_OTHERS and not called_count):
            continue
        if kind in _STARTERS or kind.lower().endswith(("trigger", "emailreadimap", "rssfeedreadtrigger")):
            return True
    return False


def kept_running(now: Mapping[str, Standing], then: Mapping[str, Standing | None]) -> dict[str, list[str]]:
    """Which of those that run ``now`` and would not ``then`` must run on: names of what still calls them.

    ``then`` holds what is written; None is deleted, and what is not in it stays as it is. What ends with the callers
    keeps nothing; what is kept keeps what it calls in turn.
    """
    after = {**now, **then}
    ending = {key for key in then if _runs(now.get(key)) and not _runs(then[key])}
    callers = {key: state for key, state in after.items() if state is not None and state.runs}
    kept: dict[str, list[str]] = {}
    while callers:
        found = _called(ending - kept.keys(), callers)
        kept |= found
        callers = {key: then[key] or now[key] for key in found}
    return kept


def because_called(names: Collection[str]) -> str:
    """Why something stays published, as the end of a sentence."""
    return f"because {quoted(list(names))} {'calls' if len(names) == 1 else 'call'} it"


def _called(wanted: Collection[str], callers: Mapping[str, Standing]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, caller in callers.items():
        for called in dict.fromkeys(caller.calls):
            if called in wanted and called != key:
                found.setdefault(called, []).append(caller.name)
    return found


def _runs(state: Standing | None) -> bool:
    return state is not None and state.runs


def names_by_key(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By key, the callers of what is kept published; rows without ``kept_for`` are left out."""
    return {row["key"]: row["kept_for"] for row in rows if row.get("kept_for")}


def kept_published(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same for a result or a proof: `[{key, name, called_by}]`."""
    return [{"key": r["key"], "name": r["name"], "called_by": r["kept_for"]} for r in rows if r.get("kept_for")]


def stays_published(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a manifest, kept published because others call the workflow."""
    return {**entry, "active": True, "archived": False}
