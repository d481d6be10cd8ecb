"""What a restore would switch off although something that runs on calls it: it is kept published. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from workflows.calling import Standing, because_called, kept_running

from .manifest import calls_in
from .planning import Current, Plan, Planned


def must_run_on(plan: Plan, current: Mapping[str, Current], origin: Mapping[str, str]) -> dict[str, list[str]]:
    """By key, who still calls what the plan would unpublish or delete. ``origin`` maps ids in the contents to keys."""
    here = {there.env_workflow_id: key for key, there in current.items()}
    now = {key: Standing(there.name or key, there.active, _keys(there.calls, here)) for key, there in current.items()}
    then: dict[str, Standing | None] = {item.key: _then(item, origin) for item in plan.to_write}
    return kept_running(now, {**then, **dict.fromkeys(there.key for there in plan.to_delete)})


def kept_on_the_way_back(
    now: Iterable[Mapping[str, Any]], then: Mapping[str, Mapping[str, Any] | None], keys: Mapping[str, str]
) -> dict[str, list[str]]:
    """The same of entries of manifests of one environment: ``then`` are those that come back, None is deleted."""
    return kept_running(
        {str(entry["key"]): _standing(entry, keys) for entry in now},
        {key: _standing(entry, keys) if entry is not None else None for key, entry in then.items()},
    )


def called_meanwhile(
    current: Mapping[str, Current], before: Mapping[str, Mapping[str, Any]], touched: Collection[str]
) -> dict[str, list[str]]:
    """By key, who has come to call what goes back to being unpublished (``touched``, as in ``before``).

    Calls that led nowhere before may do so again, and what goes back itself keeps nothing.
    """
    here = {there.env_workflow_id: key for key, there in current.items()}
    running = {key: calls_in(entry) for key, entry in before.items() if entry.get("active")}
    now = {}
    for key, there in current.items():
        fresh = [] if key in touched else [ident for ident in there.calls if ident not in running.get(key, ())]
        now[key] = Standing(there.name or key, there.active, _keys(fresh, here))
    then = {key: _standing(before[key], here) for key in touched if key in before and not before[key].get("active")}
    return kept_running(now, then)


def _standing(entry: Mapping[str, Any], keys: Mapping[str, str]) -> Standing:
    name = str(entry.get("name") or entry["key"])
    return Standing(name, bool(entry.get("active")), _keys(calls_in(entry), keys))


def _then(item: Planned, origin: Mapping[str, str]) -> Standing:
    return Standing(item.label, bool(item.wanted.get("active")), _keys(calls_in(item.entry), origin))


def _keys(ids: Iterable[str], keys: Mapping[str, str]) -> list[str]:
    return [keys[ident] for ident in ids if ident in keys]


def keep(plan: Plan, key: str, names: Sequence[str]) -> None:
    """Let it run on, and say so."""
    item = next((one for one in plan.items if one.key == key), None)
    why = because_called(names)
    if item is None:
        plan.kept_extra[key] = list(names)
        name = next(there.name for there in plan.extra if there.key == key)
        message = f"It is not deleted, {why}."
    else:
        plan.change(key, kept_for=tuple(names))
        name = item.name
        message = f"It stays published, {why}. In the snapshot it was not."
        if next(one for one in plan.items if one.key == key).is_done:
            plan.change(key, action="unchanged")
    told = {"code": "kept_published", "key": key, "workflow_name": name, "called_by": list(names)}
    plan.warnings.append({**told, "message": message})


def cannot_keep(item: Planned, names: Sequence[str]) -> dict[str, Any]:
    """The problem where it could not run on as it was in the snapshot."""
    why = item.held or "As it was in the snapshot, n8n would not run it."
    message = f"It runs, and “{names[0]}” calls it. {why}"
    return {"code": "called_would_stop", "key": item.key, "workflow_name": item.name, "message": message}
