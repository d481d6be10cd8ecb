"""What n8n refuses by the content of a workflow, in its own words; the shape is checked before (`checking.py`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from .profiles import Profile
from .records import Version, Workflow, starts

_CRON = re.compile(r"([-*/,\d?LW#A-Z]+\s+){4,5}[-*/,\d?LW#A-Z]+")
JSON = dict[str, Any]
Node = Mapping[str, Any]
KNOWN_PACKAGES = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
LONGEST_NAME = 128
#: What JavaScript's encodeURIComponent leaves as it is, besides letters and digits.
UNESCAPED = "!~*'()"
#: The one refusal that is a 409: another workflow's webhook is registered there. Two that are published at once pass.
CONFLICT = "There is a conflict with one of the webhooks."
_STARTED_BY_OTHERS = (".executeWorkflowTrigger", ".errorTrigger")
_WAITING = frozenset(
    {"discord", "emailSend", "form", "gmail", "googleChat", "microsoftTeams", "slack", "telegram", "wait"}
)
#: Parameters without which publishing is refused, of the kinds that tests use.
_NEEDED: Mapping[str, tuple[str, ...]] = {"n8n-nodes-base.httpRequest": ("url",)}


class Surroundings(Protocol):
    """What publishing depends on beside the workflow: the instance that it is in."""

    profile: Profile
    packages: list[str]
    workflows: dict[str, Workflow]
    #: Method and path -> id of the workflow and name of the node.
    webhooks: dict[tuple[str, str], tuple[str, str]]


def bad_name(name: str, *, new: bool) -> str | None:
    """n8n's complaint; a workflow that is there already may lose its name."""
    if (1 if new else 0) <= len(name) <= LONGEST_NAME:
        return None
    return f"Workflow name must be 1 to {LONGEST_NAME} characters long."


def bad_structure(nodes: Sequence[Node], connections: Mapping[str, Any]) -> str | None:
    """n8n's complaint about nodes and connections that do not fit together, or None."""
    issues = [*_bad_nodes(nodes), *_bad_connections({node.get("name") for node in nodes}, connections)]
    return f"Workflow structure is invalid. {'; '.join(issues)}" if issues else None


def _bad_nodes(nodes: Sequence[Node]) -> Iterator[str]:
    incomplete = [issue for index, node in enumerate(nodes) for issue in _incomplete(index, node)]
    yield from incomplete or _used_twice(nodes)


def _incomplete(index: int, node: Node) -> Iterator[str]:
    for key in ("name", "type", "position"):
        if key not in node:
            yield f"nodes[{index}].{key} (invalid_type): Required"
    if node.get("name") == "":
        yield f"nodes[{index}].name (too_small): String must contain at least 1 character(s)"


def _used_twice(nodes: Sequence[Node]) -> Iterator[str]:
    names: set[str] = set()
    name_by_id: dict[Any, str] = {}
    for index, node in enumerate(nodes):
        name, node_id = node["name"], node.get("id")
        if node_id in name_by_id:
            nodes_named = f'Nodes "{name_by_id[node_id]}" and "{name}"'
            yield f'nodes[{index}].id (duplicate_node_id): {nodes_named} share the node ID "{node_id}"'
        if name in names:
            yield f'nodes[{index}].name (duplicate_node_name): Duplicate node name "{name}"'
        names.add(name)
        name_by_id.setdefault(node_id, name)


def _bad_connections(names: set[Any], connections: Mapping[str, Any]) -> Iterator[str]:
    for source, kinds in connections.items():
        if source not in names:
            yield (
                f"connections.{source} (unknown_connection_source): Connection source"
                f' "{source}" does not reference an existing node'
            )
            continue
        for kind, outputs in (kinds if isinstance(kinds, dict) else {}).items():
            for out, targets in enumerate(outputs or ()):
                for index, target in enumerate(targets or ()):
                    if target.get("node") not in names:
                        yield (
                            f"connections.{source}.{kind}[{out}][{index}].node (unknown_connection_target): Connection"
                            f' target "{target.get("node")}" does not reference an existing node'
                        )


def bad_groups(nodes: Sequence[Node], groups: Sequence[JSON], connections: Mapping[str, Any]) -> str | None:
    """n8n's complaint about node groups, or None."""
    by_id = {node.get("id"): node for node in nodes}
    twice = [group_id for group_id, count in Counter(group["id"] for group in groups).items() if count > 1]
    if twice:
        return f'Duplicate node group ID "{twice[0]}".'
    owners: dict[str, str] = {}
    for group in groups:
        complaint = _bad_members(group, by_id, owners) or _bad_shape(group, by_id, connections)
        if complaint:
            return complaint
    return None


def _bad_members(group: JSON, by_id: Mapping[Any, Node], owners: dict[str, str]) -> str | None:
    """``owners`` are the groups of the nodes so far; those of this group are added."""
    name = group["name"]
    if not group["nodeIds"]:
        return f'Group "{name}" has no members.'
    for node_id in group["nodeIds"]:
        if node_id not in by_id:
            return f'Group "{name}" references node ID "{node_id}" that does not exist in the workflow.'
        if node_id in owners:
            return f'Node "{by_id[node_id]["name"]}" belongs to multiple groups: "{owners[node_id]}" and "{name}".'
        owners[node_id] = name
    return None


def _bad_shape(group: JSON, by_id: Mapping[Any, Node], connections: Mapping[str, Any]) -> str | None:
    name, members = group["name"], [by_id[node_id] for node_id in group["nodeIds"]]
    triggers = [node["name"] for node in members if _is_trigger(node)]
    if triggers:
        return f'Node group "{name}" cannot contain trigger nodes: {", ".join(triggers)}.'
    complaint = _not_one_piece([node["name"] for node in members], connections)
    if complaint is None:
        return None
    return f'Node group "{name}" must form a single connected subgraph with a single entry and exit ({complaint}).'


def _edges(connections: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for source, kinds in connections.items():
        for outputs in kinds.values():
            for targets in outputs or ():
                for target in targets or ():
                    yield source, target["node"]


def _entered(members: Sequence[str], connections: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The members that other members lead to, and those that nodes outside lead to."""
    from_inside: set[str] = set()
    from_outside: set[str] = set()
    for source, target in _edges(connections):
        if target in members:
            (from_inside if source in members else from_outside).add(target)
    return from_inside, from_outside


def _not_one_piece(members: Sequence[str], connections: Mapping[str, Any]) -> str | None:
    """Why a group has more than one way in. n8n checks the ways out as well; that is not done here."""
    from_inside, from_outside = _entered(members, connections)
    if both := [name for name in members if name in from_inside & from_outside]:
        return f'input edge to non-root node: "{both[0]}"'
    roots = [name for name in members if name not in from_inside]
    entered = [f'"{name}"' for name in roots if name in from_outside]
    if len(entered) > 1:
        return f"multiple input nodes: {', '.join(entered)}"
    return f'no path from "{roots[0]}" to "{roots[1]}"' if len(roots) > 1 else None


def _is_trigger(node: Node) -> bool:
    return starts(node) or str(node.get("type", "")).endswith("Trigger")


def cannot_publish(instance: Surroundings, workflow: Workflow, version: Version) -> str | None:
    """n8n's complaint about publishing this version, or None."""
    nodes, profile = orjson.loads(version.nodes), instance.profile
    if complaint := _unknown_type(nodes, instance.packages) or _nothing_starts(workflow, nodes, profile):
        return complaint
    if profile.strict and (complaint := _unfinished(nodes, orjson.loads(version.connections))):
        return complaint
    if profile.callees_first and (complaint := _unpublished_callee(instance, workflow, nodes)):
        return complaint
    if profile.publishes_later and _path_is_taken(instance, workflow, nodes):
        return CONFLICT
    return None


def _unknown_type(nodes: Sequence[JSON], packages: Sequence[str]) -> str | None:
    known = (*KNOWN_PACKAGES, *(f"{package}." for package in packages))
    unknown = [node for node in nodes if not str(node.get("type", "")).startswith(known)]
    return f"Unrecognized node type: {unknown[0].get('type')}" if unknown else None


def registers(node: Node) -> bool:
    """Whether a trigger comes to run: a schedule that is none does not, and n8n says nothing."""
    rules = ((node.get("parameters") or {}).get("rule") or {}).get("interval") or ()
    expressions = [rule.get("expression", "") for rule in rules if rule.get("field") == "cronExpression"]
    return all(_CRON.fullmatch(expression.strip()) for expression in expressions)


def has_webhook(node: Mapping[str, Any]) -> bool:
    """Whether n8n calls this node by an address."""
    return str(node.get("type", "")).rpartition(".")[2] in ("webhook", "formTrigger", "chatTrigger", "mcpTrigger")


def webhooks_of(nodes: Sequence[JSON], workflow_id: str) -> Iterator[tuple[str, str, str]]:
    """Method, path and the node's name of each webhook that these nodes register.

    A node without a webhook id listens at an address of this workflow alone.
    """
    for node in nodes:
        kind = str(node.get("type", "")).rpartition(".")[2]
        if starts(node) and kind == "webhook":
            path = _webhook_path(node, workflow_id)
            methods = (node.get("parameters") or {}).get("httpMethod", "GET")
            for method in methods if isinstance(methods, list) else [methods]:
                yield str(method), path, str(node["name"])
        elif starts(node) and kind == "chatTrigger" and node.get("webhookId"):
            yield "POST", f"{node['webhookId']}/chat", str(node["name"])


def _webhook_path(node: JSON, workflow_id: str) -> str:
    webhook_id = node.get("webhookId")
    path = str((node.get("parameters") or {}).get("path") or webhook_id or "").strip("/")
    return path if webhook_id else f"{workflow_id}/{quote(str(node['name']).lower(), safe=UNESCAPED)}/{path}"


def _path_is_taken(instance: Surroundings, workflow: Workflow, nodes: Sequence[JSON]) -> bool:
    wanted = [(method, path) for method, path, _ in webhooks_of(nodes, workflow.id)]
    others = {address for address, (owner, _) in instance.webhooks.items() if owner != workflow.id}
    return len(set(wanted)) < len(wanted) or bool(others & set(wanted))


def _started_by_others(node: JSON) -> bool:
    return not node.get("disabled") and str(node.get("type", "")).endswith(_STARTED_BY_OTHERS)


def _waits_for_answers(node: JSON) -> bool:
    """A node that can wait for a person's answer listens for it, so n8n counts it as one that starts something."""
    return not node.get("disabled") and str(node.get("type", "")).removeprefix("n8n-nodes-base.") in _WAITING


def _nothing_starts(workflow: Workflow, nodes: Sequence[JSON], profile: Profile) -> str | None:
    if any(starts(node) or _waits_for_answers(node) for node in nodes):
        return None
    if profile.has_drafts and any(_started_by_others(node) for node in nodes):
        return None
    if profile.has_drafts:
        return (
            "Workflow cannot be activated because it has no trigger node."
            " At least one trigger, webhook, or polling node is required."
        )
    return (
        f'Workflow "{workflow.name}" (ID: {workflow.id}) has no node to start the workflow'
        " - at least one trigger, poller or webhook node is required"
    )


def _unfinished(nodes: Sequence[JSON], connections: Mapping[str, Any]) -> str | None:
    """Parameters that a node lacks; nodes that nothing leads to are not checked."""
    reached = {target for _, target in _edges(connections)}
    checked = [node for node in nodes if node.get("name") in reached and not node.get("disabled")]
    found = {node["name"]: ", ".join(missing) for node in checked if (missing := _missing_parameters(node))}
    if not found:
        return None
    count = f"{len(found)} node{'s' if len(found) > 1 else ''}"
    issues = [f'Node "{name}":\n  - Missing or invalid required parameters: {words}' for name, words in found.items()]
    return "\n\n".join([f"Cannot publish workflow: {count} have configuration issues:", *issues])


def _missing_parameters(node: JSON) -> list[str]:
    parameters = node.get("parameters") or {}
    return [name for name in _NEEDED.get(str(node.get("type")), ()) if not parameters.get(name)]


def called_directly(nodes: Sequence[JSON]) -> Iterator[tuple[str, str]]:
    """Name of the calling node and id of the called workflow; expressions and disabled nodes are left out."""
    for node in nodes:
        called = (node.get("parameters") or {}).get("workflowId")
        called = called.get("value") if isinstance(called, dict) else called
        if node.get("disabled") or not str(node.get("type", "")).endswith(".executeWorkflow"):
            continue
        if called and not str(called).startswith("="):
            yield str(node.get("name")), str(called)


def _unpublished_callee(instance: Surroundings, workflow: Workflow, nodes: Sequence[JSON]) -> str | None:
    for name, called in called_directly(nodes):
        other = instance.workflows.get(called)
        if called == workflow.id or (other and other.active):
            continue
        title = f' ("{other.name}")' if other else ""
        return (
            f'Cannot publish workflow: Node "{name}" references workflow {called}{title} which is not published.'
            " Please publish all referenced sub-workflows first."
        )
    return None
