"""What a workflow refers to outside itself (credentials, workflows, tables, addresses), and how that is rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from .credential_choice import credentials_in_use
from .locators import (
    DATA_TABLE,
    N8N_NODES,
    WORKFLOW_CALLERS,
    call_path,
    called_workflow,
    caller_ids,
    data_table,
    embedded_workflow,
    is_workflow_id,
    locator_span,
)
from .normalization import credential_name_id
from .webhook_addresses import address_by_place, webhook_address

__all__ = [
    "STARTED_BY_OTHERS",
    "CredentialRef",
    "Reference",
    "Rewritten",
    "address_by_place",
    "called_workflows",
    "can_be_called",
    "credentials_in_use",
    "references",
    "rewrite",
    "webhook_address",
]

Kind = Literal["credential", "workflow", "webhook", "data_table"]

STARTED_BY_OTHERS = frozenset({"n8n-nodes-base.errorTrigger", "n8n-nodes-base.executeWorkflowTrigger"})
"""Triggers that another workflow sets off: by calling, or by failing."""


class Reference(msgspec.Struct, frozen=True):
    """One reference. `value` is an id or, for a webhook, `METHOD path`; `path` is where it is, as a JSON path.

    `in_use` is False where the workflow demonstrably runs without it. `sure` is False where it may name something of
    another n8n.
    """

    kind: Kind
    value: str
    node: str
    path: str
    name: str = ""
    credential_type: str = ""
    in_use: bool = True
    sure: bool = True


class CredentialRef(msgspec.Struct, frozen=True):
    """A credential of the target environment."""

    id: str
    name: str


class Rewritten(msgspec.Struct, frozen=True):
    """`content` for the target, and the references for which no target is known (left as they were)."""

    content: dict[str, Any]
    dangling: list[Reference] = []


def references(content: Mapping[str, Any]) -> list[Reference]:
    """Return every reference of a portable workflow, node by node, then those of the settings."""
    found: list[Reference] = []
    for number, node in enumerate(content.get("nodes") or ()):
        found += _of_node(node, f"nodes[{number}]")
    settings = content.get("settings") or {}
    error_workflow = _error_workflow(settings)
    if error_workflow is not None:
        found.append(_in_settings(error_workflow, "errorWorkflow"))
    return found + [_in_settings(caller, "callerIds") for caller in caller_ids(settings)]


def _error_workflow(settings: Mapping[str, Any]) -> str | None:
    chosen = settings.get("errorWorkflow")
    return str(chosen).strip() if is_workflow_id(chosen) and chosen != "DEFAULT" else None


def _in_settings(workflow_id: str, setting: str) -> Reference:
    return Reference("workflow", workflow_id, "", f"settings.{setting}")


def _of_node(node: Mapping[str, Any], path: str) -> Iterator[Reference]:
    name, runs = str(node.get("name") or ""), not node.get("disabled")
    if node.get("credentials"):
        yield from _credentials_of(node, name, path, runs)
    called = called_workflow(node)
    if called is not None:
        yield _call(node, called, name, path, runs)
    table = data_table(node)
    if table is not None:
        in_use = runs and node["parameters"].get("source", DATA_TABLE) == DATA_TABLE
        table_path = f"{path}.parameters.dataTableId"
        yield Reference("data_table", table[0], name, table_path, table[1], DATA_TABLE, in_use=in_use)
    address = webhook_address(node)
    if address is not None:
        yield Reference("webhook", address, name, f"{path}.parameters.path")
    yield from _embedded_references(node, path, runs)


def _credentials_of(node: Mapping[str, Any], name: str, path: str, runs: bool) -> Iterator[Reference]:
    chosen = credentials_in_use(node)
    for kind, value in sorted(node["credentials"].items()):
        label, credential_id = credential_name_id(value)
        in_use = runs and (chosen is None or kind in chosen)
        yield Reference("credential", credential_id, name, f"{path}.credentials.{kind}", label, kind, in_use=in_use)


def _embedded_references(node: Mapping[str, Any], path: str, runs: bool) -> Iterator[Reference]:
    """Those of the workflow that a caller carries in its parameters; its webhooks are never registered."""
    embedded = embedded_workflow(node) if node.get("type") in WORKFLOW_CALLERS else None
    for number, inner in enumerate(embedded["nodes"] if embedded else ()):
        for found in _of_node(inner, f"{path}.parameters.workflowJson.nodes[{number}]"):
            if found.kind != "webhook":
                yield found if runs else msgspec.structs.replace(found, in_use=False)


def _call(node: Mapping[str, Any], called: str, name: str, path: str, runs: bool) -> Reference:
    keys = call_path(node) or ("workflowId",)
    locator: Any = node["parameters"]
    for key in keys:
        locator = locator[key]
    inside = ".value" if isinstance(locator, dict) else ""
    label = str(locator.get("cachedResultName") or "") if isinstance(locator, dict) else ""
    where = f"{path}.parameters.{'.'.join(keys)}{inside}"
    return Reference("workflow", called, name, where, label, in_use=runs, sure=node.get("type") not in N8N_NODES)


def can_be_called(content: Mapping[str, Any]) -> bool:
    """Whether another workflow can set it off."""
    return any(n.get("type") in STARTED_BY_OTHERS and not n.get("disabled") for n in content.get("nodes") or ())


def called_workflows(content: Mapping[str, Any]) -> list[str]:
    """Ids of the workflows that it calls, or that take its failures; not of those that may call it."""
    found = (r.value for r in references(content) if r.kind == "workflow" and r.path != "settings.callerIds")
    return list(dict.fromkeys(found))


def rewrite(
    content: Mapping[str, Any],
    *,
    workflow_ids: Mapping[str, str],
    credentials: Mapping[tuple[str, str], CredentialRef],
) -> Rewritten:
    """Return `content` with its references turned into those of another environment.

    `workflow_ids` maps id here to id there. `credentials` is keyed by `(type, id)` or `(type, name)`, the id being
    looked up first; data tables are in it as type `DATA_TABLE`. What is not in a mapping stays as it is and is
    returned as dangling. `content` is not changed.
    """
    rewriter = _Rewriter(workflow_ids, credentials)
    nodes = [rewriter.node(node, f"nodes[{number}]") for number, node in enumerate(content.get("nodes") or ())]
    return Rewritten({**content, "nodes": nodes, "settings": rewriter.settings(content)}, rewriter.dangling)


class _Rewriter:
    """Turns the references of one workflow; ``dangling`` collects those without a target."""

    def __init__(self, workflow_ids: Mapping[str, str], credentials: Mapping[tuple[str, str], CredentialRef]) -> None:
        self.workflow_ids, self.credentials = workflow_ids, credentials
        self.dangling: list[Reference] = []

    def node(self, node: Mapping[str, Any], path: str) -> dict[str, Any]:
        changed = dict(node)
        by_path = {found.path: found for found in _of_node(node, path)}
        if node.get("credentials"):
            changed["credentials"] = {
                kind: self._credential(kind, value, by_path[f"{path}.credentials.{kind}"])
                for kind, value in node["credentials"].items()
            }
        inside = f"{path}.parameters."
        for found in by_path.values():
            if found.path.startswith(inside) and ".workflowJson." not in found.path[len(path) :]:
                changed["parameters"] = self._parameters(node, changed["parameters"], found)
        embedded = embedded_workflow(node) if node.get("type") in WORKFLOW_CALLERS else None
        if embedded is not None:
            changed["parameters"] = self._embedded(changed["parameters"], embedded, f"{inside}workflowJson")
        return changed

    def _credential(self, kind: str, value: Any, reference: Reference) -> Any:
        target = self.credentials.get((kind, reference.value)) if reference.value else None
        target = target or self.credentials.get((kind, reference.name))
        if target is None:
            self.dangling.append(reference)
            return value
        return {"id": target.id, "name": target.name}

    def _parameters(self, node: Mapping[str, Any], parameters: dict[str, Any], found: Reference) -> dict[str, Any]:
        """The parameters with the workflow or the data table of one reference replaced."""
        if found.kind == "workflow" and found.value in self.workflow_ids:
            return _put(parameters, call_path(node) or ("workflowId",), self.workflow_ids[found.value])
        table = self.credentials.get((DATA_TABLE, found.value)) if found.kind == "data_table" else None
        if table is not None:
            return _put(parameters, ("dataTableId",), table.id, table.name)
        if found.kind in ("workflow", "data_table"):
            self.dangling.append(found)
        return parameters

    def _embedded(self, parameters: dict[str, Any], embedded: Mapping[str, Any], path: str) -> dict[str, Any]:
        nodes = [self.node(inner, f"{path}.nodes[{number}]") for number, inner in enumerate(embedded["nodes"])]
        return parameters if nodes == embedded["nodes"] else _reembedded(parameters, {**embedded, "nodes": nodes})

    def settings(self, content: Mapping[str, Any]) -> dict[str, Any]:
        settings = dict(content.get("settings") or {})
        error_workflow = _error_workflow(settings)
        if error_workflow is not None:
            settings["errorWorkflow"] = self._workflow(error_workflow, "errorWorkflow", settings["errorWorkflow"])
        callers = caller_ids(settings)
        if callers:
            settings["callerIds"] = ", ".join(self._workflow(caller, "callerIds", caller) for caller in callers)
        return settings

    def _workflow(self, workflow_id: str, setting: str, unchanged: Any) -> Any:
        target = self.workflow_ids.get(workflow_id)
        if target is None:
            self.dangling.append(_in_settings(workflow_id, setting))
            return unchanged
        return target


def _reembedded(parameters: Mapping[str, Any], embedded: Mapping[str, Any]) -> dict[str, Any]:
    before = parameters["workflowJson"]
    if not isinstance(before, str):
        return {**parameters, "workflowJson": embedded}
    text = json.dumps(embedded, indent=2, ensure_ascii=False)
    return {**parameters, "workflowJson": f"={text}" if before.startswith("=") else text}


def _put(parameters: Mapping[str, Any], path: tuple[str, ...], target: str, name: str = "") -> dict[str, Any]:
    """`parameters` with the id at `path` replaced; an expression stays one, an address keeps its form."""
    head, rest = path[0], path[1:]
    if rest:
        return {**parameters, head: _put(parameters[head], rest, target, name)}
    locator = parameters[head]
    span = locator_span(locator)
    value = locator.get("value") if isinstance(locator, dict) else locator
    replaced = value[: span[1]] + target + value[span[2] :] if span is not None and isinstance(value, str) else target
    if not isinstance(locator, dict):
        return {**parameters, head: replaced}
    # The cached address leads to the other instance; n8n finds a new one by itself.
    kept = {k: v for k, v in locator.items() if k != "cachedResultUrl"} | {"value": replaced}
    if name and "cachedResultName" in kept:
        kept["cachedResultName"] = name
    return {**parameters, head: kept}
