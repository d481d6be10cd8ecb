"""Where a node or the settings of a workflow name another workflow or a data table, and by which id."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

WORKFLOW_CALLERS = frozenset(
    {
        "n8n-nodes-base.executeWorkflow",
        "@n8n/n8n-nodes-langchain.toolWorkflow",
        "@n8n/n8n-nodes-langchain.retrieverWorkflow",
        "n8n-nodes-base.executeWorkflowTool",
        "n8n-nodes-base.n8n",
        "n8n-nodes-base.n8nTool",
    }
)
"""Types of nodes whose `parameters.workflowId` names another workflow."""

N8N_NODES = frozenset({"n8n-nodes-base.n8n", "n8n-nodes-base.n8nTool"})
"""Node types that call the API of an n8n, which may be another one."""

DATA_TABLE_NODES = frozenset(
    {
        "n8n-nodes-base.dataTable",
        "n8n-nodes-base.dataTableTool",
        "n8n-nodes-base.evaluation",
        "n8n-nodes-base.evaluationTrigger",
    }
)
"""Types of nodes whose `parameters.dataTableId` names a data table."""

DATA_TABLE = "dataTable"
"""The credential type under which data tables go."""

# An expression that is only a word: `={{ "abc" }}`, `={{ 12 }}`, `=abc`. Ids that are still to be given hold a colon.
_LITERAL = re.compile(r"""=\s*(?:\{\{\s*(?:(["'`])([\w:-]+)\1|(\d+))\s*;?\s*\}\}|([\w:-]+))\s*""")
_IN_ADDRESS = re.compile(r"/workflow/([\w:-]+)")


def is_workflow_id(value: object) -> bool:
    """Whether `value` is an id, and not an expression (`={{ … }}`) or nothing."""
    return (isinstance(value, str) and value.strip() != "" and not value.startswith("=")) or (
        isinstance(value, int) and not isinstance(value, bool)
    )


def id_span(value: object) -> tuple[str, int, int] | None:
    """The id that a parameter holds, and where in its text: plain, or as an expression that is a literal.

    None for nothing, and for expressions that are worked out at run time.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), 0, len(str(value))
    if not isinstance(value, str) or not value.strip():
        return None
    if not value.startswith("="):
        found = value.strip()
        start = value.index(found)
        return found, start, start + len(found)
    literal = _LITERAL.fullmatch(value)
    if literal is None or literal.lastindex is None:
        return None
    group = literal.lastindex
    return literal[group], literal.start(group), literal.end(group)


def call_path(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The path below `parameters` at which `node` names a workflow that it calls or asks for, or None."""
    kind, parameters = node.get("type"), node.get("parameters")
    if kind not in WORKFLOW_CALLERS or not isinstance(parameters, dict):
        return None
    if kind in N8N_NODES:
        resource = parameters.get("resource", "workflow")
        path = ("filters", "workflowId") if resource == "execution" else ("workflowId",)
        if resource not in ("workflow", "execution") or not isinstance(parameters.get(path[0]), dict | str | int):
            return None
    elif parameters.get("source", "database") != "database":
        return None
    else:
        path = ("workflowId",)
    holder = parameters if len(path) == 1 else parameters[path[0]]
    return path if isinstance(holder, dict) else None


def called_workflow(node: Mapping[str, Any]) -> str | None:
    """The id of the workflow which `node` calls, if it names one."""
    path = call_path(node)
    if path is None:
        return None
    value: Any = node["parameters"]
    for part in path:
        value = value.get(part)
    found = locator_span(value)
    return found[0] if found else None


def locator_span(value: Any) -> tuple[str, int, int] | None:
    """As `id_span`, of a resource locator (`{__rl, mode, value}`) or a plain value."""
    if not isinstance(value, dict):
        return id_span(value)
    inside = value.get("value")
    if value.get("mode") == "url" and isinstance(inside, str):
        match = _IN_ADDRESS.search(inside)
        return (match[1], match.start(1), match.end(1)) if match else None
    return id_span(inside)


def embedded_workflow(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """The workflow that a caller carries as JSON in its own parameters, or None where there is none to be read."""
    parameters = node.get("parameters")
    if not isinstance(parameters, dict) or parameters.get("source") != "parameter":
        return None
    found = parameters.get("workflowJson")
    if isinstance(found, str):
        try:
            found = json.loads(found.removeprefix("="))
        except (ValueError, RecursionError):
            return None
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, list) or not all(map(_is_node, nodes)):
        return None
    return found


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and all(isinstance(node.get(k) or {}, dict) for k in ("parameters", "credentials"))


def data_table(node: Mapping[str, Any]) -> tuple[str, str] | None:
    """Id and remembered name of the data table which `node` uses by id; None where it goes by name, or by nothing."""
    parameters = node.get("parameters")
    if node.get("type") not in DATA_TABLE_NODES or not isinstance(parameters, dict):
        return None
    locator = parameters.get("dataTableId")
    if isinstance(locator, dict) and locator.get("mode") == "name":
        return None
    found = locator_span(locator)
    label = locator.get("cachedResultName") if isinstance(locator, dict) else None
    return (found[0], label if isinstance(label, str) else "") if found else None


def caller_ids(settings: Mapping[str, Any]) -> list[str]:
    """The ids in `settings.callerIds`, in their order, without blanks."""
    value = settings.get("callerIds")
    if not isinstance(value, str) or value.startswith("="):
        return []
    return [part.strip() for part in value.split(",") if part.strip()]
