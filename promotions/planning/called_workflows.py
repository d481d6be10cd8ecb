"""What must run so that something else can: from n8n 2 on a called workflow runs only where it is published. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from promotions.running.target import Reading
from snapshots.manifest import calls_in
from workflows.calling import Standing, kept_running, needs_published_callees
from workflows.models import Environment

from .inputs import Facts

Callers = Callable[[], Mapping[str, list[str]]]
"""Names of the workflows that run in the target, by the key of what they call."""


def keep_called(facts: Facts, items: list[dict[str, Any]], may_run: Mapping[str, bool], callers: Callers) -> None:
    """A called workflow that runs is never switched off while something outside the plan calls it."""
    ending = [item for item in items if item["target"] and item["target"]["active"] and not item["active"]]
    if not ending or not needs_published_callees(facts.target.environment):
        return
    called = callers()
    for item in ending:
        names = called.get(item["key"])
        if names and may_run.get(item["key"]):
            _let_run(item, {"name": names[0]})


def publish_called(facts: Facts, items: list[dict[str, Any]], may_run: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Let what is called by something that runs run as well; what cannot be in this plan is returned as dangling.

    ``may_run`` says of each item whether n8n would publish it. Items are changed in place: their ``active``, and a
    warning that says why.
    """
    if not needs_published_callees(facts.target.environment):
        return []
    by_key = {item["key"]: item for item in items}
    dangling: dict[str, dict[str, Any]] = {}
    todo = [item for item in items if item["active"]]
    while todo:
        caller = todo.pop()
        for used in caller["workflows"]:
            key = used["key"]
            if key is None or key == caller["key"] or used["path"] == "settings.callerIds":
                continue
            called = by_key.get(key)
            if called is not None:
                if not called["active"] and may_run.get(key):
                    _let_run(called, caller)
                    todo.append(called)
                continue
            place = facts.target.places.get(key)
            if place is not None and not place.active and key not in dangling:
                dangling[key] = _not_running(facts, caller, used, place.name or key)
    return list(dangling.values())


def kept_for(
    target: Environment,
    reading: Reading,
    ending: Mapping[str, Standing],
    touched: Collection[str],
    *,
    before: Collection[tuple[str, str]] = (),
) -> dict[str, list[str]]:
    """Which of those that a way back would unpublish must run on: names of who calls them, by n8n id.

    ``ending`` is how they would be then. Counted is what runs and is not put back itself (``touched``). ``before`` are
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


def _let_run(called: dict[str, Any], caller: Mapping[str, Any]) -> None:
    called["active"] = True
    if called["action"] == "unchanged":
        called["action"] = "update"
    message = f"It is published as well: “{caller['name']}” calls it, and this n8n runs only what is published."
    called["warnings"] = [w for w in called["warnings"] if w["code"] != "starts_inactive"]
    called["warnings"].append({"code": "must_run", "message": message, "node": ""})


def _not_running(facts: Facts, caller: Mapping[str, Any], used: Mapping[str, Any], name: str) -> dict[str, Any]:
    target = facts.target.environment.name
    return {
        "workflow_key": caller["key"],
        "workflow_name": caller["name"],
        "kind": "workflow",
        "node": used["node"],
        "path": used["path"],
        "value": used["source_id"],
        "label": name,
        "credential_type": "",
        "key": used["key"],
        "reason": "not_published",
        "message": f"“{caller['name']}” calls “{name}”, which is not published in {target} and so would not run: add it"
        " to this promotion, or publish it there.",
    }
