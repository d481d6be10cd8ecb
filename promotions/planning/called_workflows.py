"""What must run so that something else can: from n8n 2 on a called workflow runs only where it is published. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from workflows.calling import needs_published_callees

from .documents import CalledWorkflow, MissingReference, PlanItem, PlanWarning
from .inputs import PlanInputs

Callers = Callable[[], Mapping[str, list[str]]]
"""Names of the workflows that run in the target, by the key of what they call."""


def keep_called(
    inputs: PlanInputs, items: Mapping[str, PlanItem], may_run: Mapping[str, bool], callers: Callers
) -> dict[str, PlanItem]:
    """The items, with those published that run now and that something outside the plan calls.

    ``may_run`` says of each item whether n8n would publish it.
    """
    ending = [item for item in items.values() if item.target and item.target.active and not item.active]
    if not ending or not needs_published_callees(inputs.target.environment):
        return dict(items)
    called_by = callers()
    kept = {
        item.key: _published(item, called_by[item.key][0])
        for item in ending
        if called_by.get(item.key) and may_run.get(item.key)
    }
    return {**items, **kept}


def publish_called(
    inputs: PlanInputs, items: Mapping[str, PlanItem], may_run: Mapping[str, bool]
) -> tuple[dict[str, PlanItem], list[MissingReference]]:
    """The items, with those published that one which runs calls; and what is called but cannot be in this plan."""
    found = dict(items)
    if not needs_published_callees(inputs.target.environment):
        return found, []
    missing: dict[str, MissingReference] = {}
    todo = [item for item in found.values() if item.active]
    while todo:
        caller = todo.pop()
        for used in _calls(caller):
            key = str(used.key)
            called = found.get(key)
            if called is None:
                if _stands_unpublished(inputs, key):
                    missing.setdefault(key, _not_published(inputs, caller, used))
            elif not called.active and may_run.get(key):
                found[key] = _published(called, caller.name)
                todo.append(found[key])
    return found, list(missing.values())


def _calls(caller: PlanItem) -> list[CalledWorkflow]:
    """Calls of other workflows that are known; ``callerIds`` only says who may call."""
    return [
        used for used in caller.workflows if used.key not in (None, caller.key) and used.path != "settings.callerIds"
    ]


def _stands_unpublished(inputs: PlanInputs, key: str) -> bool:
    there = inputs.target.workflows.get(key)
    return there is not None and not there.active


def _published(called: PlanItem, caller_name: str) -> PlanItem:
    message = f"It is published as well: “{caller_name}” calls it, and this n8n runs only what is published."
    others = [warning for warning in called.warnings if warning.code != "starts_inactive"]
    return msgspec.structs.replace(
        called,
        active=True,
        action="update" if called.action == "unchanged" else called.action,
        warnings=(*others, PlanWarning(code="must_run", message=message)),
    )


def _not_published(inputs: PlanInputs, caller: PlanItem, used: CalledWorkflow) -> MissingReference:
    target, key = inputs.target.environment.name, str(used.key)
    name = inputs.target.workflows[key].name or key
    return MissingReference(
        workflow_key=caller.key,
        workflow_name=caller.name,
        kind="workflow",
        node=used.node,
        path=used.path,
        value=used.source_id,
        label=name,
        key=key,
        reason="not_published",
        message=f"“{caller.name}” calls “{name}”, which is not published in {target} and so would not run: add it"
        " to this promotion, or publish it there.",
    )
