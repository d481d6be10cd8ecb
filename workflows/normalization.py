"""Behaviour only: which parts of a workflow count, and which values are n8n's defaults.

Built from lists of known keys: a key that a newer n8n adds counts only once it is added here, together with a new
`NORMALIZATION_VERSION`. Hashes of different versions are never equal and must not be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from .locators import (
    DATA_TABLE,
    DATA_TABLE_NODES,
    N8N_NODES,
    WORKFLOW_CALLERS,
    call_path,
    called_workflow,
    caller_ids,
    data_table,
    embedded_workflow,
    id_span,
    is_workflow_id,
    locator_span,
)
from .saved import as_saved

__all__ = [
    "DATA_TABLE",
    "DATA_TABLE_NODES",
    "N8N_NODES",
    "NORMALIZATION_VERSION",
    "SETTING_DEFAULTS",
    "STICKY",
    "WORKFLOW_CALLERS",
    "call_path",
    "called_workflow",
    "caller_ids",
    "credential_name_id",
    "data_table",
    "embedded_workflow",
    "id_span",
    "is_addressed_by_webhook_id",
    "is_workflow_id",
    "locator_span",
    "tidy",
    "view",
]

NORMALIZATION_VERSION = 2

STICKY = "n8n-nodes-base.stickyNote"

_REFERRING = WORKFLOW_CALLERS | DATA_TABLE_NODES

SETTING_DEFAULTS: Mapping[str, Any] = {
    "executionOrder": "v0",
    "saveManualExecutions": True,
    "saveExecutionProgress": False,
    "saveDataErrorExecution": "all",
    "saveDataSuccessExecution": "all",
    "executionTimeout": -1,
    "timezone": "DEFAULT",
    "errorWorkflow": "",
    "callerPolicy": "workflowsFromSameOwner",
    "callerIds": "",
    "timeSavedPerExecution": 0,
    "availableInMCP": False,
}
"""What an absent setting means, measured on 1.123: writing this value has the effect of leaving the key out."""

_IGNORED_SETTING_VALUES = (None, "", "DEFAULT")

# Flags of a node and the value that an absent one has.
_NODE_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("disabled", False),
    ("alwaysOutputData", False),
    ("executeOnce", False),
    ("retryOnFail", False),
)

_SELDOM = frozenset({*(key for key, _ in _NODE_DEFAULTS), "onError", "continueOnFail", "credentials", "webhookId"})

# The address of these holds the webhook's id unless a fixed path says otherwise.
_ADDRESSED_BY_WEBHOOK_ID = (
    "n8n-nodes-base.webhook",
    "n8n-nodes-base.formTrigger",
    "@n8n/n8n-nodes-langchain.chatTrigger",
    "@n8n/n8n-nodes-langchain.mcpTrigger",
)

WorkflowRef = Callable[[str], Any]
CredentialRef = Callable[[str, str, str], Any]


def view(portable: Mapping[str, Any], workflow_ref: WorkflowRef, credential_ref: CredentialRef) -> dict[str, Any]:
    """Return the behaviour of `portable`, sharing its values (nothing is copied that is not changed).

    `workflow_ref(id)` and `credential_ref(type, name, id)` are called in a fixed order (nodes by name, then settings)
    and return what replaces the reference. A data table goes by the latter, as type `DATA_TABLE`.
    """
    nodes = _in_order([node for node in portable.get("nodes") or () if node.get("type") != STICKY])
    settings = portable.get("settings") or {}
    return {
        "name": portable.get("name") or "",
        "nodes": [_node(node, workflow_ref, credential_ref) for node in nodes],
        "connections": _connections(portable.get("connections") or {}, settings.get("executionOrder") == "v1"),
        "settings": _settings(settings, workflow_ref),
    }


def _in_order(nodes: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = [node.get("name") for node in nodes]
    if len(set(names)) < len(nodes):
        nodes.sort(key=lambda node: (*_node_order(node), _node_text(node)))
    else:
        nodes.sort(key=itemgetter("name") if all(type(name) is str for name in names) else _node_order)
    return nodes


def _node_order(node: Mapping[str, Any]) -> tuple[str, str]:
    return str(node.get("name") or ""), str(node.get("type") or "")


def _node_text(node: Mapping[str, Any]) -> str:
    """The order among nodes of one name (n8n keeps names unique, files do not): by content, never by position."""
    keys = ("parameters", "credentials", "typeVersion", "disabled", "webhookId")
    return repr(tidy([_sorted(node.get(key)) for key in keys]))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value) if k != "id"}
    return [_sorted(v) for v in value] if isinstance(value, list) else value


def _node(node: Mapping[str, Any], workflow_ref: WorkflowRef, credential_ref: CredentialRef) -> dict[str, Any]:
    get = node.get
    kind = get("type") or ""
    out: dict[str, Any] = {
        "name": get("name") or "",
        "type": kind,
        "typeVersion": get("typeVersion") or 1,
        "parameters": as_saved(kind, get("typeVersion"), get("parameters") or {}),
    }
    if kind in _REFERRING:
        out["parameters"] = _referring(node, out["parameters"], workflow_ref, credential_ref)
    if not _SELDOM.isdisjoint(node):
        _add_seldom(node, out, credential_ref)
    return out


def _referring(
    node: Mapping[str, Any], parameters: dict[str, Any], workflow_ref: WorkflowRef, credential_ref: CredentialRef
) -> dict[str, Any]:
    """The parameters of a node that may refer to a workflow or a data table, with its references replaced."""
    table = data_table(node)
    if table is not None:
        return {**parameters, "dataTableId": {"$table": credential_ref(DATA_TABLE, table[1], table[0])}}
    called = called_workflow(node)
    if called is not None:
        path = call_path(node) or ("workflowId",)
        if len(path) == 1:
            return {**parameters, path[0]: workflow_ref(called)}
        return {**parameters, path[0]: {**parameters[path[0]], path[1]: workflow_ref(called)}}
    embedded = embedded_workflow(node)
    if embedded is None:
        return parameters
    nodes = []
    for inner in embedded["nodes"]:
        kept = dict(inner)
        if inner.get("type") in _REFERRING:
            kept["parameters"] = _referring(inner, inner.get("parameters") or {}, workflow_ref, credential_ref)
        if inner.get("credentials"):
            kept["credentials"] = _credentials(inner["credentials"], credential_ref)
        nodes.append(kept)
    return {**parameters, "workflowJson": {**embedded, "nodes": nodes}}


def _credentials(credentials: Mapping[str, Any], credential_ref: CredentialRef) -> dict[str, Any]:
    return {key: credential_ref(key, *credential_name_id(credentials[key])) for key in sorted(credentials)}


def _add_seldom(node: Mapping[str, Any], out: dict[str, Any], credential_ref: CredentialRef) -> None:
    """What most nodes do not have."""
    get = node.get
    for key, default in _NODE_DEFAULTS:
        value = get(key)
        if value is not None and value != default:
            out[key] = value
    if out.get("retryOnFail"):
        wait_milliseconds = get("waitBetweenTries")
        out["maxTries"] = get("maxTries") or 3
        out["waitBetweenTries"] = 1000 if wait_milliseconds is None else wait_milliseconds
    on_error = _on_error(node)
    if on_error:
        out["onError"] = on_error
    credentials = get("credentials")
    if credentials:
        out["credentials"] = _credentials(credentials, credential_ref)
    webhook = get("webhookId")
    if webhook and is_addressed_by_webhook_id(node):
        out["webhookId"] = webhook


def _on_error(node: Mapping[str, Any]) -> Any:
    """What a node does where it fails, None for the default. `continueOnFail` is the older way to say it."""
    chosen = node.get("onError") or ("continueRegularOutput" if node.get("continueOnFail") else None)
    return None if chosen == "stopWorkflow" else chosen


def is_addressed_by_webhook_id(node: Mapping[str, Any]) -> bool:
    """Whether a node's production address holds its `webhookId`: it has no path, or one that varies."""
    return node.get("type") in _ADDRESSED_BY_WEBHOOK_ID and not _fixed_path(node.get("parameters") or {})


def credential_name_id(value: Any) -> tuple[str, str]:
    """The name and the id that a node keeps of a credential; either may be empty."""
    if isinstance(value, dict):
        return str(value.get("name") or ""), str(value.get("id") or "")
    return value if isinstance(value, str) else "", ""


def _fixed_path(parameters: Mapping[str, Any]) -> bool:
    path = parameters.get("path")
    return isinstance(path, str) and bool(path) and ":" not in path and not path.startswith("=")


def _connections(connections: Mapping[str, Any], any_order: bool) -> dict[str, Any]:
    """Connections without what is empty; each target as `[node, type, index]`.

    In execution order v1 n8n goes by the positions of the nodes, so the order of the links has no meaning there.
    """
    out: dict[str, Any] = {}
    for source, kinds in connections.items():
        if not isinstance(kinds, dict):
            continue
        kept = {kind: rows for kind, outputs in kinds.items() if (rows := _outputs(outputs, any_order))}
        if kept:
            out[source] = kept
    return out


def _outputs(outputs: Any, any_order: bool) -> list[list[Any]]:
    rows = [_targets(links) if links else [] for links in outputs or ()]
    while rows and not rows[-1]:
        rows.pop()
    if any_order:
        return [sorted(row, key=str) if len(row) > 1 else row for row in rows]
    return rows


def _targets(links: Any) -> list[Any]:
    return [
        [link.get("node") or "", link.get("type") or "main", link.get("index") or 0] if isinstance(link, dict) else link
        for link in links
    ]


def _settings(settings: Mapping[str, Any], workflow_ref: WorkflowRef) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, default in SETTING_DEFAULTS.items():
        value = settings.get(key)
        if value in _IGNORED_SETTING_VALUES or (
            value == default and isinstance(value, bool) == isinstance(default, bool)
        ):
            continue
        out[key] = value
    if is_workflow_id(out.get("errorWorkflow")):
        out["errorWorkflow"] = workflow_ref(str(out["errorWorkflow"]).strip())
    if "callerIds" in out:
        callers = caller_ids(settings)
        if callers:
            out["callerIds"] = [workflow_ref(caller) for caller in callers]
    return out


def tidy(value: Any) -> Any:
    """Return `value` with numbers as JavaScript writes them, without the editor's memory of what ids are called."""
    if isinstance(value, dict):
        rl = "__rl" in value
        return {k: tidy(v) for k, v in value.items() if not (rl and k.startswith("cachedResult"))}
    if isinstance(value, list):
        return [tidy(v) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value
