"""What a restore would switch off although something that runs on calls it: it is kept published. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from workflows.calling import Standing, because_called, kept_running

from .manifest import ManifestEntry
from .planning import CurrentWorkflow, RestoreItem, RestorePlan
from .restore_documents import RestoreIssue


def must_run_on(
    plan: RestorePlan, current: Mapping[str, CurrentWorkflow], origin: Mapping[str, str]
) -> dict[str, list[str]]:
    """By key, who still calls what the plan would unpublish or delete. ``origin`` maps ids in the contents to keys."""
    here = _keys_here(current)
    now = {key: Standing(c.label, c.active, _keys(c.calls, here)) for key, c in current.items()}
    then: dict[str, Standing | None] = {item.key: _then(item, origin) for item in plan.to_write}
    return kept_running(now, {**then, **dict.fromkeys(c.key for c in plan.to_delete)})


def kept_on_the_way_back(
    now: Iterable[ManifestEntry], then: Mapping[str, ManifestEntry | None], keys: Mapping[str, str]
) -> dict[str, list[str]]:
    """The same of entries of manifests of one environment: ``then`` are those that come back, None is deleted."""
    return kept_running(
        {entry.key: _standing(entry, keys) for entry in now},
        {key: _standing(entry, keys) if entry is not None else None for key, entry in then.items()},
    )


def called_meanwhile(
    current: Mapping[str, CurrentWorkflow], before: Mapping[str, ManifestEntry], touched: Collection[str]
) -> dict[str, list[str]]:
    """By key, who has come to call what goes back to being unpublished (``touched``, as in ``before``).

    Calls that led nowhere before may do so again, and what goes back itself keeps nothing.
    """
    here = _keys_here(current)
    now = {
        key: Standing(c.label, c.active, _keys(_fresh_calls(c, before.get(key)), here) if key not in touched else ())
        for key, c in current.items()
    }
    ending = [before[key] for key in touched if key in before and not before[key].active]
    return kept_running(now, {entry.key: _standing(entry, here) for entry in ending})


def _fresh_calls(current: CurrentWorkflow, before: ManifestEntry | None) -> list[str]:
    """n8n ids of what it calls now and did not call while it ran before."""
    known = before.called_ids if before is not None and before.active else ()
    return [workflow_id for workflow_id in current.calls if workflow_id not in known]


def _keys_here(current: Mapping[str, CurrentWorkflow]) -> dict[str, str]:
    """n8n id → key."""
    return {c.env_workflow_id: key for key, c in current.items()}


def _standing(entry: ManifestEntry, keys: Mapping[str, str]) -> Standing:
    return Standing(entry.label, entry.active, _keys(entry.called_ids, keys))


def _then(item: RestoreItem, origin: Mapping[str, str]) -> Standing:
    return Standing(item.label, item.wanted.active, _keys(item.entry.called_ids, origin))


def _keys(workflow_ids: Iterable[str], keys: Mapping[str, str]) -> list[str]:
    return [keys[workflow_id] for workflow_id in workflow_ids if workflow_id in keys]


def keep(plan: RestorePlan, key: str, names: Sequence[str]) -> None:
    """Let it run on, and say so."""
    why, item = because_called(names), plan.item(key)
    if item is None:
        plan.kept_extra[key] = list(names)
        name = next(c.name for c in plan.extra if c.key == key)
        message = f"It is not deleted, {why}."
    else:
        plan.change(key, kept_for=tuple(names))
        name = item.name
        message = f"It stays published, {why}. In the snapshot it was not."
        kept = plan.item(key)
        if kept is not None and kept.is_done:
            plan.change(key, action="unchanged")
    plan.warnings.append(
        RestoreIssue(code="kept_published", key=key, workflow_name=name, called_by=list(names), message=message)
    )


def cannot_keep(item: RestoreItem, names: Sequence[str]) -> RestoreIssue:
    """The problem where it could not run on as it was in the snapshot."""
    why = item.held or "As it was in the snapshot, n8n would not run it."
    message = f"It runs, and “{names[0]}” calls it. {why}"
    return RestoreIssue(code="called_would_stop", key=item.key, workflow_name=item.name, message=message)
