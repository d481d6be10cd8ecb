"""The instance itself: its people, its licence, its own risk report."""

from __future__ import annotations

from typing import Any

from sandbox.records import starts

from .calls import Answer, Request, message, page_of, reply


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
    if request.query.get("includeRole"):
        user["role"] = "global:owner"
    return page_of(request, [user])


def licensed(request: Request) -> Answer:  # pragma: no cover - answered before it is reached
    return message(403, "Your license does not allow for this.")


def source_control(request: Request) -> Answer:
    return reply({"status": "Error", "message": "Source Control feature is not licensed"}, 401)


def audit(request: Request) -> Answer:
    """A small risk report in the shape of n8n's; an empty list when there is nothing to say."""
    instance = request.instance
    used: set[str] = set()
    open_hooks: list[dict[str, Any]] = []
    code: list[dict[str, Any]] = []
    for workflow in instance.workflows.values():
        for node in workflow.node_list():
            used |= {
                ref["id"] for ref in (node.get("credentials") or {}).values() if isinstance(ref, dict) and "id" in ref
            }
            place = {
                "kind": "node",
                "workflowId": workflow.id,
                "workflowName": workflow.name,
                "nodeId": node.get("id"),
                "nodeName": node.get("name"),
                "nodeType": node.get("type"),
            }
            kind = str(node.get("type", ""))
            if kind.endswith(".webhook") and starts(node) and workflow.active and not node.get("credentials"):
                open_hooks.append(place)
            if kind.endswith((".code", ".executeCommand", ".ssh")):
                code.append(place)
    unused = [
        {"kind": "credential", "id": record["id"], "name": record["name"]}
        for record in instance.credentials.values()
        if record["id"] not in used
    ]
    report = {}
    for title, risk, section, advice, places in (
        (
            "Credentials Risk Report",
            "credentials",
            "Credentials not used in any workflow",
            "Delete what is unused.",
            unused,
        ),
        ("Nodes Risk Report", "nodes", "Nodes that run code", "Look at what they run.", code),
        ("Instance Risk Report", "instance", "Unprotected webhooks in instance", "Ask callers to sign in.", open_hooks),
    ):
        if places:
            entry = {"title": section, "description": f"{section}.", "recommendation": advice, "location": places}
            report[title] = {"risk": risk, "sections": [entry]}
    return reply(report or [])
