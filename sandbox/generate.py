"""Workflows made to measure: the same seed gives the same estate."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

_WORDS = [
    "invoice",
    "order",
    "customer",
    "lead",
    "ticket",
    "report",
    "payment",
    "refund",
    "stock",
    "parcel",
    "contract",
    "signup",
    "newsletter",
    "calendar",
    "meeting",
    "survey",
    "backup",
    "alert",
    "metric",
    "digest",
    "renewal",
    "onboarding",
    "quote",
    "return",
    "warranty",
    "claim",
]
_VERBS = [
    "sync",
    "import",
    "export",
    "notify",
    "enrich",
    "archive",
    "check",
    "merge",
    "route",
    "collect",
    "publish",
    "clean",
]
_STEPS = (
    ("n8n-nodes-base.set", 3.4),
    ("n8n-nodes-base.if", 2.2),
    ("n8n-nodes-base.code", 2),
    ("n8n-nodes-base.httpRequest", 4.2),
    ("n8n-nodes-base.postgres", 2.5),
)


def _uuid(dice: random.Random) -> str:
    raw = f"{dice.getrandbits(128):032x}"
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"


def _parameters(dice: random.Random, kind: str) -> dict[str, Any]:
    words = [dice.choice(_WORDS) for _ in range(6)]
    if kind.endswith(".set"):
        values = [
            {"id": _uuid(dice), "name": word, "value": f"={{{{ $json.{word}_{n} }}}}", "type": "string"}
            for n, word in enumerate(words)
        ]
        return {"assignments": {"assignments": values}, "options": {}}
    if kind.endswith(".httpRequest"):
        return {"method": "POST", "url": f"https://api.example.com/{words[0]}/{dice.randrange(10**6)}", "options": {}}
    if kind.endswith(".postgres"):
        return {"operation": "executeQuery", "query": f"select * from {words[0]} where {words[1]}_id = $1"}  # noqa: S608
    if kind.endswith(".if"):
        return {"conditions": {"string": [{"value1": f"={{{{ $json.{words[0]} }}}}", "value2": words[1]}]}}
    lines = [f"const {word}_{n} = items.map((item) => item.json.{word} ?? null);" for n, word in enumerate(words)]
    return {"jsCode": "\n".join([*lines, "return items;"])}


def workflow(dice: random.Random, *, number: int, size: int, pinned: bool) -> dict[str, Any]:
    """One workflow of about `size` bytes: a trigger and a chain of steps."""
    subject, verb = dice.choice(_WORDS), dice.choice(_VERBS)
    webhook = dice.random() < 0.6
    start: dict[str, Any] = {
        "id": _uuid(dice),
        "name": "Start",
        "type": "n8n-nodes-base.webhook" if webhook else "n8n-nodes-base.scheduleTrigger",
        "typeVersion": 2 if webhook else 1.2,
        "position": [0, 0],
        "parameters": {"path": f"{verb}-{subject}-{number}", "httpMethod": "POST", "options": {}}
        if webhook
        else {"rule": {"interval": [{"field": "hours", "hoursInterval": dice.randrange(1, 24)}]}},
    }
    if webhook:
        start["webhookId"] = _uuid(dice)
    nodes, connections, length, before = [start], {}, 500, "Start"
    while length < size:
        kind, version = dice.choice(_STEPS)
        name = f"{dice.choice(_VERBS).title()} {dice.choice(_WORDS)} {len(nodes)}"
        node = {
            "id": _uuid(dice),
            "name": name,
            "type": kind,
            "typeVersion": version,
            "position": [220 * len(nodes), 40 * (len(nodes) % 5)],
            "parameters": _parameters(dice, kind),
        }
        if kind.endswith(".postgres"):
            node["credentials"] = {"postgres": {"id": "cred-postgres", "name": "Postgres"}}
        nodes.append(node)
        connections[before] = {"main": [[{"node": name, "type": "main", "index": 0}]]}
        before = name
        length += len(orjson.dumps(node)) + 70
    made: dict[str, Any] = {
        "name": f"{verb.title()} {subject} {number:05d}",
        "nodes": nodes,
        "connections": connections,
        "settings": {"executionOrder": "v1"},
    }
    if pinned:
        made["pinData"] = {"Start": [{"json": {"sample": dice.randrange(10**6)}}]}
    return made


def estate(
    count: int, *, size: int = 12_000, seed: int = 0, pinned_ratio: float = 0.1
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`count` pairs of a workflow id and a workflow, the same for the same arguments."""
    dice = random.Random(seed)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for number in range(count):
        identity = "".join(dice.choices(alphabet, k=16))
        yield identity, workflow(dice, number=number, size=size, pinned=dice.random() < pinned_ratio)
