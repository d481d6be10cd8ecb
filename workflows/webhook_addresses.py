"""The addresses at which the nodes of a workflow listen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

#: What JavaScript's encodeURIComponent leaves as it is, besides letters and digits.
_UNESCAPED = "!~*'()"

WEBHOOKS = {
    "n8n-nodes-base.webhook": "webhook",
    "n8n-nodes-base.formTrigger": "form",
    "@n8n/n8n-nodes-langchain.chatTrigger": "webhook",
    "@n8n/n8n-nodes-langchain.mcpTrigger": "mcp",
}
"""Node types that listen at an address, and the prefix of its path."""


def webhook_address(node: Mapping[str, Any]) -> str | None:
    """`POST orders/new` for a node that listens, None for others, switched-off ones and expressions.

    Two active workflows with the same address clash, and n8n gives no error: before 2.0 the first keeps it,
    since then the newcomer takes it. A path with a parameter (`user/:id`) is kept apart by the webhook's own id.
    """
    prefix = WEBHOOKS.get(str(node.get("type") or ""))
    if prefix is None or node.get("disabled"):
        return None
    parameters = node.get("parameters") or {}
    path = _listening_path(node, parameters, prefix)
    if path is None:
        return None
    if prefix != "webhook":
        return f"{prefix.upper()} {path}"
    if node["type"].endswith("chatTrigger"):
        return f"POST {path}/chat"
    methods = parameters.get("httpMethod") or "GET"
    return f"{'|'.join(sorted(map(str, methods))) if isinstance(methods, list) else methods} {path}"


def _listening_path(node: Mapping[str, Any], parameters: Mapping[str, Any], prefix: str) -> str | None:
    options, webhook_id = parameters.get("options"), node.get("webhookId")
    chosen = options.get("path") if prefix == "form" and isinstance(options, dict) else None
    path = chosen or parameters.get("path") or webhook_id
    if not isinstance(path, str) or not path or path.startswith("="):
        return None
    path = path.strip("/")
    varies = any(part.startswith(":") for part in path.split("/"))
    return f"{webhook_id}/{path}" if varies and isinstance(webhook_id, str) and webhook_id else path


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


def production_addresses(content: Mapping[str, Any], workflow_id: str) -> list[str]:
    """Every production address of a workflow.

    ``content`` is what n8n holds, so a node without a webhook id is one that n8n gave none.
    """
    return sorted(set(_addresses(content, workflow_id)))


def _addresses(content: Mapping[str, Any], workflow_id: str) -> Iterator[str]:
    for node in content["nodes"]:
        if address := webhook_address(node):
            yield address_by_place(node, workflow_id) or address


def varies(address: str) -> bool:
    """Whether a part of its path is a parameter, so that nobody can be asked about it."""
    return ":" in address
