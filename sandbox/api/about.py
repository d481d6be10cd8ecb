"""The instance itself: its people, its licence, its own risk report."""

from __future__ import annotations

from typing import Any

from sandbox.records import Workflow, starts
from sandbox.schema import operations, spelt

from .calls import Answer, Request, message, page_of, reply

JSON = dict[str, Any]


def list_users(request: Request) -> Answer:
    instance = request.instance
    owner = instance.owner
    user: dict[str, Any] = {
        "id": owner.id,
        "email": owner.email,
        "firstName": owner.first_name,
        "lastName": owner.last_name,
        "createdAt": instance.created,
        "updatedAt": instance.created,
        "isPending": False,
    }
    if request.instance.profile.strict:
        user["mfaEnabled"] = False
    if request.query.get("includeRole"):
        user["role"] = "global:owner"
    return page_of(request, [user])


def licensed(request: Request) -> Answer:
    """What a licence is needed for, where the instance has one: only for folders."""
    folders = request.instance.folders
    return reply({"count": len(folders), "data": [{"id": folder, "name": folder} for folder in folders]})


def discover(request: Request) -> Answer:
    """What the key may do, by resource."""
    resources: dict[str, Any] = {}
    scopes: list[str] = []
    for plain, methods in operations(request.instance.profile).items():
        for method, operation in methods.items():
            if operation.scope and not request.may(operation.scope):
                continue
            name, _, verb = (operation.scope or plain.split("/")[1]).partition(":")
            entry = resources.setdefault(name, {"operations": [], "endpoints": []})
            if verb and verb not in entry["operations"]:
                entry["operations"].append(verb)
                scopes.append(f"{name}:{verb}")
            path = f"/api/v1{spelt(request.instance.profile, plain)}"
            entry["endpoints"].append({"method": method, "path": path, "operationId": operation.handler})
    given = scopes if request.scopes is None else request.scopes
    return reply({"data": {"scopes": given, "resources": resources, "specUrl": "/api/v1/openapi.yml"}})


def insights(request: Request) -> Answer:
    runs = request.instance.executions
    failed = sum(run["status"] == "error" for run in runs)
    ratio = round(failed / len(runs), 3) if runs else 0
    values = {
        "total": (len(runs), "count"),
        "failed": (failed, "count"),
        "failureRate": (ratio, "ratio"),
        "timeSaved": (0, "minute"),
        "averageRunTime": (0, "millisecond"),
    }
    return reply({name: {"value": value, "deviation": None, "unit": unit} for name, (value, unit) in values.items()})


def list_packages(request: Request) -> Answer:
    """Community packages, each with the node types it brings: `{name: version}` in the control API."""
    moment = request.instance.created
    listed = [
        {
            "packageName": name,
            "installedVersion": "1.0.0",
            "installedNodes": [],
            "createdAt": moment,
            "updatedAt": moment,
        }
        for name in request.instance.packages
    ]
    return reply(listed)


def source_control(request: Request) -> Answer:
    if request.instance.profile.strict:
        feature = "feat:sourceControl"
        words = f"Your license does not allow for {feature}. To enable {feature}, please upgrade to a license that"
        return message(403, f"{words} supports this feature.")
    return reply({"status": "Error", "message": "Source Control feature is not licensed"}, 401)


def audit(request: Request) -> Answer:
    """A small risk report in the shape of n8n's; an empty list when there is nothing to say."""
    instance = request.instance
    nodes = [(workflow, node) for workflow in instance.workflows.values() for node in workflow.node_list()]
    used = {credential_id for _, node in nodes for credential_id in _credential_ids(node)}
    unused = [
        {"kind": "credential", "id": record["id"], "name": record["name"]}
        for record in instance.credentials.values()
        if record["id"] not in used
    ]
    code = [_location(workflow, node) for workflow, node in nodes if str(node.get("type", "")).endswith(_RUNS_CODE)]
    open_hooks = [_location(workflow, node) for workflow, node in nodes if workflow.active and _is_open_hook(node)]
    report = {
        **_section("Credentials", "Credentials not used in any workflow", "Delete what is unused.", unused),
        **_section("Nodes", "Nodes that run code", "Look at what they run.", code),
        **_section("Instance", "Unprotected webhooks in instance", "Ask callers to sign in.", open_hooks),
    }
    return reply(report or [])


_RUNS_CODE = (".code", ".executeCommand", ".ssh")


def _credential_ids(node: JSON) -> set[str]:
    references = (node.get("credentials") or {}).values()
    return {reference["id"] for reference in references if isinstance(reference, dict) and "id" in reference}


def _is_open_hook(node: JSON) -> bool:
    return str(node.get("type", "")).endswith(".webhook") and starts(node) and not node.get("credentials")


def _location(workflow: Workflow, node: JSON) -> JSON:
    return {
        "kind": "node",
        "workflowId": workflow.id,
        "workflowName": workflow.name,
        "nodeId": node.get("id"),
        "nodeName": node.get("name"),
        "nodeType": node.get("type"),
    }


def _section(risk: str, title: str, advice: str, locations: list[JSON]) -> JSON:
    """One risk as a report has it; nothing where there is none."""
    if not locations:
        return {}
    section = {"title": title, "description": f"{title}.", "recommendation": advice, "location": locations}
    return {f"{risk} Risk Report": {"risk": risk.lower(), "sections": [section]}}
