"""What a workflow refers to outside itself (credentials, workflows, webhook paths), and how that is rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .normalization import WORKFLOW_CALLERS, called_workflow, caller_ids, is_workflow_id

Kind = Literal["credential", "workflow", "webhook"]

_WEBHOOKS = {
    "n8n-nodes-base.webhook": "webhook",
    "n8n-nodes-base.formTrigger": "form",
    "@n8n/n8n-nodes-langchain.chatTrigger": "webhook",
    "@n8n/n8n-nodes-langchain.mcpTrigger": "mcp",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference. `value` is an id or, for a webhook, `METHOD path`; `path` is the JSON path of its place."""

    kind: Kind
    value: str
    node: str
    path: str
    name: str = ""
    credential_type: str = ""

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return {key: getattr(self, key) for key in self.__slots__}


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """A credential of the target environment."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`content` for the target, and the references for which no target is known (left as they were)."""

    content: dict[str, Any]
    dangling: list[Reference] = field(default_factory=list)


def references(content: Mapping[str, Any]) -> list[Reference]:
    """Return every reference of a portable workflow, node by node, then those of the settings."""
    found: list[Reference] = []
    for number, node in enumerate(content.get("nodes") or ()):
        name, place = str(node.get("name") or ""), f"nodes[{number}]"
        for kind, value in sorted((node.get("credentials") or {}).items()):
            identity, label = _credential(value)
            found.append(Reference("credential", identity, name, f"{place}.credentials.{kind}", label, kind))
        called = called_workflow(node)
        if called is not None:
            locator = node["parameters"]["workflowId"]
            inside = ".value" if isinstance(locator, dict) else ""
            label = str(locator.get("cachedResultName") or "") if isinstance(locator, dict) else ""
            found.append(Reference("workflow", called, name, f"{place}.parameters.workflowId{inside}", label))
        address = webhook_address(node)
        if address is not None:
            found.append(Reference("webhook", address, name, f"{place}.parameters.path"))
    settings = content.get("settings") or {}
    error_workflow = settings.get("errorWorkflow")
    if is_workflow_id(error_workflow) and error_workflow != "DEFAULT":
        found.append(Reference("workflow", str(error_workflow).strip(), "", "settings.errorWorkflow"))
    found += [Reference("workflow", caller, "", "settings.callerIds") for caller in caller_ids(settings)]
    return found


def webhook_address(node: Mapping[str, Any]) -> str | None:
    """`POST orders/new` for a node that listens, None for others, switched-off ones and expressions.

    Two active workflows with the same address clash, and n8n says nothing about it.
    """
    prefix = _WEBHOOKS.get(str(node.get("type") or ""))
    if prefix is None or node.get("disabled"):
        return None
    parameters = node.get("parameters") or {}
    path = parameters.get("path") or node.get("webhookId")
    if not isinstance(path, str) or not path or path.startswith("="):
        return None
    path = path.strip("/")
    if prefix != "webhook":
        return f"{prefix.upper()} {path}"
    if node["type"].endswith("chatTrigger"):
        return f"POST {path}/chat"
    methods = parameters.get("httpMethod") or "GET"
    return f"{'|'.join(sorted(map(str, methods))) if isinstance(methods, list) else methods} {path}"


def _credential(value: Any) -> tuple[str, str]:
    if isinstance(value, dict):
        return str(value.get("id") or ""), str(value.get("name") or "")
    return "", value if isinstance(value, str) else ""


def rewrite(
    content: Mapping[str, Any],
    *,
    workflow_ids: Mapping[str, str],
    credentials: Mapping[tuple[str, str], CredentialRef],
) -> Rewritten:
    """Return `content` with its references turned into those of another environment.

    `workflow_ids` maps id here to id there. `credentials` is keyed by `(type, id)` or `(type, name)`, the id being
    looked up first. What is not in a mapping stays as it is and is returned as dangling. `content` is not changed.
    """
    dangling: list[Reference] = []
    nodes = []
    by_place = {r.path: r for r in references(content)}
    for number, node in enumerate(content.get("nodes") or ()):
        place = f"nodes[{number}]"
        changed = dict(node)
        if node.get("credentials"):
            changed["credentials"] = {
                kind: _moved(kind, value, credentials, by_place[f"{place}.credentials.{kind}"], dangling)
                for kind, value in node["credentials"].items()
            }
        if node.get("type") in WORKFLOW_CALLERS:
            called = called_workflow(node)
            if called is not None:
                if called in workflow_ids:
                    changed["parameters"] = _recalled(node["parameters"], workflow_ids[called])
                else:
                    dangling += [r for p, r in by_place.items() if p.startswith(f"{place}.parameters.workflowId")]
        nodes.append(changed)
    return Rewritten({**content, "nodes": nodes, "settings": _settings(content, workflow_ids, dangling)}, dangling)


def _moved(
    kind: str,
    value: Any,
    credentials: Mapping[tuple[str, str], CredentialRef],
    reference: Reference,
    dangling: list[Reference],
) -> Any:
    target = credentials.get((kind, reference.value)) if reference.value else None
    target = target or credentials.get((kind, reference.name))
    if target is None:
        dangling.append(reference)
        return value
    return {"id": target.id, "name": target.name}


def _recalled(parameters: Mapping[str, Any], target: str) -> dict[str, Any]:
    locator = parameters["workflowId"]
    if isinstance(locator, dict):
        # The cached address leads to the other instance; n8n finds a new one by itself.
        locator = {k: v for k, v in locator.items() if k != "cachedResultUrl"} | {"value": target}
    else:
        locator = target
    return {**parameters, "workflowId": locator}


def _settings(content: Mapping[str, Any], workflow_ids: Mapping[str, str], dangling: list[Reference]) -> dict[str, Any]:
    settings = dict(content.get("settings") or {})
    error_workflow = settings.get("errorWorkflow")
    if is_workflow_id(error_workflow) and error_workflow != "DEFAULT":
        target = workflow_ids.get(str(error_workflow).strip())
        if target is None:
            dangling.append(Reference("workflow", str(error_workflow).strip(), "", "settings.errorWorkflow"))
        else:
            settings["errorWorkflow"] = target
    callers = caller_ids(settings)
    if callers:
        dangling += [Reference("workflow", c, "", "settings.callerIds") for c in callers if c not in workflow_ids]
        settings["callerIds"] = ", ".join(workflow_ids.get(c, c) for c in callers)
    return settings
