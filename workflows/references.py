"""What a workflow refers to outside itself (credentials, workflows, tables, addresses), and how that is rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from .normalization import (
    DATA_TABLE,
    N8N_NODES,
    WORKFLOW_CALLERS,
    called_workflow,
    caller_ids,
    credential_name_id,
    data_table,
    embedded_workflow,
    is_workflow_id,
    locator_span,
    place_of_call,
)

Kind = Literal["credential", "workflow", "webhook", "data_table"]

STARTED_BY_OTHERS = frozenset({"n8n-nodes-base.errorTrigger", "n8n-nodes-base.executeWorkflowTrigger"})
"""Triggers that another workflow sets off: by calling, or by failing."""

#: What JavaScript's encodeURIComponent leaves as it is, besides letters and digits.
_UNESCAPED = "!~*'()"

_WEBHOOKS = {
    "n8n-nodes-base.webhook": "webhook",
    "n8n-nodes-base.formTrigger": "form",
    "@n8n/n8n-nodes-langchain.chatTrigger": "webhook",
    "@n8n/n8n-nodes-langchain.mcpTrigger": "mcp",
}

# What the choice of a webhook's authentication asks for; others choose among the types by themselves.
_WEBHOOK_AUTHENTICATION = {
    "none": frozenset[str](),
    "n8nUserAuth": frozenset[str](),
    "basicAuth": frozenset({"httpBasicAuth"}),
    "headerAuth": frozenset({"httpHeaderAuth"}),
    "bearerAuth": frozenset({"httpBearerAuth"}),
    "jwtAuth": frozenset({"jwtAuth"}),
}
_HTTP_REQUESTS = frozenset({"n8n-nodes-base.httpRequest", "n8n-nodes-base.httpRequestTool"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference. `value` is an id or, for a webhook, `METHOD path`; `path` is the JSON path of its place.

    `in_use` is False where the workflow demonstrably runs without it. `sure` is False where it may speak of another
    n8n than its own.
    """

    kind: Kind
    value: str
    node: str
    path: str
    name: str = ""
    credential_type: str = ""
    in_use: bool = True
    sure: bool = True

    def to_dict(self) -> dict[str, Any]:
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
        found += _of_node(node, f"nodes[{number}]")
    settings = content.get("settings") or {}
    error_workflow = settings.get("errorWorkflow")
    if is_workflow_id(error_workflow) and error_workflow != "DEFAULT":
        found.append(Reference("workflow", str(error_workflow).strip(), "", "settings.errorWorkflow"))
    found += [Reference("workflow", caller, "", "settings.callerIds") for caller in caller_ids(settings)]
    return found


def _of_node(node: Mapping[str, Any], place: str) -> Iterator[Reference]:
    name, runs = str(node.get("name") or ""), not node.get("disabled")
    credentials = node.get("credentials") or {}
    if credentials:
        chosen = credentials_in_use(node)
        for kind, value in sorted(credentials.items()):
            label, identity = credential_name_id(value)
            used = runs and (chosen is None or kind in chosen)
            yield Reference("credential", identity, name, f"{place}.credentials.{kind}", label, kind, in_use=used)
    called = called_workflow(node)
    if called is not None:
        yield _call(node, called, name, place, runs)
    table = data_table(node)
    if table is not None:
        used = runs and node["parameters"].get("source", DATA_TABLE) == DATA_TABLE
        path = f"{place}.parameters.dataTableId"
        yield Reference("data_table", table[0], name, path, table[1], DATA_TABLE, in_use=used)
    address = webhook_address(node)
    if address is not None:
        yield Reference("webhook", address, name, f"{place}.parameters.path")
    embedded = embedded_workflow(node) if node.get("type") in WORKFLOW_CALLERS else None
    for number, inner in enumerate(embedded["nodes"] if embedded else ()):
        for found in _of_node(inner, f"{place}.parameters.workflowJson.nodes[{number}]"):
            if found.kind != "webhook":
                yield found if runs else _unused(found)


def _unused(found: Reference) -> Reference:
    return Reference(**{**found.to_dict(), "in_use": False})


def _call(node: Mapping[str, Any], called: str, name: str, place: str, runs: bool) -> Reference:
    path = place_of_call(node) or ("workflowId",)
    locator: Any = node["parameters"]
    for part in path:
        locator = locator[part]
    inside = ".value" if isinstance(locator, dict) else ""
    label = str(locator.get("cachedResultName") or "") if isinstance(locator, dict) else ""
    where = f"{place}.parameters.{'.'.join(path)}{inside}"
    return Reference("workflow", called, name, where, label, in_use=runs, sure=node.get("type") not in N8N_NODES)


def credentials_in_use(node: Mapping[str, Any]) -> frozenset[str] | None:
    """The types that the node's own choice of authentication asks for; None where that cannot be told.

    n8n keeps the entry of an earlier choice in the node, where nobody sees it and nothing reads it.
    """
    parameters = node.get("parameters")
    if not isinstance(parameters, dict):
        return None
    kind, choice = node.get("type"), parameters.get("authentication")
    if kind in _WEBHOOKS:
        return _WEBHOOK_AUTHENTICATION.get(choice or "none") if isinstance(choice, str | None) else None
    if choice in ("predefinedCredentialType", "genericCredentialType"):
        named = parameters.get("nodeCredentialType" if choice == "predefinedCredentialType" else "genericAuthType")
        if not isinstance(named, str) or not named or named.startswith("="):
            return None
        return frozenset({named, *_certificates(parameters)})
    if kind in _HTTP_REQUESTS and choice == "none":
        return _certificates(parameters)
    held = node.get("credentials") or {}
    if isinstance(choice, str) and not choice.startswith("=") and len(held) > 1:
        oauth = frozenset(k for k in held if k.lower().endswith("oauth2api"))
        if oauth and oauth != held.keys():
            return oauth if choice.lower() == "oauth2" else frozenset(held) - oauth
    return None


def _certificates(parameters: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({"httpSslAuth"}) if parameters.get("provideSslCertificates") else frozenset()


def can_be_called(content: Mapping[str, Any]) -> bool:
    """Whether another workflow can set it off."""
    return any(n.get("type") in STARTED_BY_OTHERS and not n.get("disabled") for n in content.get("nodes") or ())


def called_workflows(content: Mapping[str, Any]) -> list[str]:
    """Ids of the workflows that it calls, or that take its failures; not of those that may call it."""
    found = (r.value for r in references(content) if r.kind == "workflow" and r.path != "settings.callerIds")
    return list(dict.fromkeys(found))


def webhook_address(node: Mapping[str, Any]) -> str | None:
    """`POST orders/new` for a node that listens, None for others, switched-off ones and expressions.

    Two active workflows with the same address clash, and n8n says nothing about it: before 2.0 the first keeps it,
    since then the newcomer takes it. A path with a parameter (`user/:id`) is kept apart by the webhook's own id.
    """
    prefix = _WEBHOOKS.get(str(node.get("type") or ""))
    if prefix is None or node.get("disabled"):
        return None
    parameters = node.get("parameters") or {}
    options = parameters.get("options")
    chosen = options.get("path") if prefix == "form" and isinstance(options, dict) else None
    path = chosen or parameters.get("path") or node.get("webhookId")
    if not isinstance(path, str) or not path or path.startswith("="):
        return None
    path = path.strip("/")
    own = node.get("webhookId")
    if any(part.startswith(":") for part in path.split("/")) and isinstance(own, str) and own:
        path = f"{own}/{path}"
    if prefix != "webhook":
        return f"{prefix.upper()} {path}"
    if node["type"].endswith("chatTrigger"):
        return f"POST {path}/chat"
    methods = parameters.get("httpMethod") or "GET"
    return f"{'|'.join(sorted(map(str, methods))) if isinstance(methods, list) else methods} {path}"


def address_by_place(node: Mapping[str, Any], workflow_id: str) -> str | None:
    """Where a node without a webhook id listens, None for one that has an id.

    It holds the workflow's id, so it differs from one environment to the next (measured on 1.123.0 and 2.0.3; 2.41.1
    gives such a node an id, and it listens at its path).
    """
    if node.get("webhookId") or (address := webhook_address(node)) is None:
        return None
    methods, _, path = address.partition(" ")
    # n8n keeps the name escaped, and unescapes what it is called by: a caller has to escape it twice.
    name = quote(quote(str(node.get("name") or "").lower(), safe=_UNESCAPED))
    return f"{methods} {workflow_id}/{name}/{path}"


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
    dangling: list[Reference] = []
    nodes = [
        _node(node, f"nodes[{number}]", workflow_ids, credentials, dangling)
        for number, node in enumerate(content.get("nodes") or ())
    ]
    return Rewritten({**content, "nodes": nodes, "settings": _settings(content, workflow_ids, dangling)}, dangling)


def _node(
    node: Mapping[str, Any],
    place: str,
    workflow_ids: Mapping[str, str],
    credentials: Mapping[tuple[str, str], CredentialRef],
    dangling: list[Reference],
) -> dict[str, Any]:
    changed = dict(node)
    by_place = {found.path: found for found in _of_node(node, place)}
    if node.get("credentials"):
        changed["credentials"] = {
            kind: _moved(kind, value, credentials, by_place[f"{place}.credentials.{kind}"], dangling)
            for kind, value in node["credentials"].items()
        }
    for found in by_place.values():
        if not found.path.startswith(f"{place}.parameters.") or ".workflowJson." in found.path[len(place) :]:
            continue
        if found.kind == "workflow":
            if found.value in workflow_ids:
                path = place_of_call(node) or ("workflowId",)
                changed["parameters"] = _put(changed["parameters"], path, workflow_ids[found.value])
            else:
                dangling.append(found)
        elif found.kind == "data_table":
            table = credentials.get((DATA_TABLE, found.value))
            if table is not None:
                changed["parameters"] = _put(changed["parameters"], ("dataTableId",), table.id, table.name)
            else:
                dangling.append(found)
    embedded = embedded_workflow(node) if node.get("type") in WORKFLOW_CALLERS else None
    if embedded is not None:
        inner = [
            _node(one, f"{place}.parameters.workflowJson.nodes[{number}]", workflow_ids, credentials, dangling)
            for number, one in enumerate(embedded["nodes"])
        ]
        if inner != embedded["nodes"]:
            changed["parameters"] = _reembedded(changed["parameters"], {**embedded, "nodes": inner})
    return changed


def _reembedded(parameters: Mapping[str, Any], embedded: Mapping[str, Any]) -> dict[str, Any]:
    before = parameters["workflowJson"]
    if not isinstance(before, str):
        return {**parameters, "workflowJson": embedded}
    text = json.dumps(embedded, indent=2, ensure_ascii=False)
    return {**parameters, "workflowJson": f"={text}" if before.startswith("=") else text}


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


def _put(parameters: Mapping[str, Any], path: tuple[str, ...], target: str, name: str = "") -> dict[str, Any]:
    """`parameters` with the id at `path` replaced; an expression stays one, an address keeps its form."""
    head, rest = path[0], path[1:]
    if rest:
        return {**parameters, head: _put(parameters[head], rest, target, name)}
    locator = parameters[head]
    span = locator_span(locator)
    held = locator.get("value") if isinstance(locator, dict) else locator
    now = target if span is None or not isinstance(held, str) else held[: span[1]] + target + held[span[2] :]
    if not isinstance(locator, dict):
        return {**parameters, head: now}
    # The cached address leads to the other instance; n8n finds a new one by itself.
    kept = {k: v for k, v in locator.items() if k != "cachedResultUrl"} | {"value": now}
    if name and "cachedResultName" in kept:
        kept["cachedResultName"] = name
    return {**parameters, head: kept}


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
