"""A short way to write down n8n workflows: nodes, and wires as text. Pure.

    Flow("greet", "Greet", [webhook("Called", "greet"), slack("Say hello", "#hello", "Hello")], "Called > Say hello")

``A > B > C`` connects first outputs; ``A[1] > D`` the second output of A; ``Model ~ai_languageModel > Agent`` hangs a
part under an agent. Ids are derived from names, so that the same flow is the same text at every build.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

JSON = dict[str, Any]
_SPACE = uuid.UUID("5f4d7a52-3f0e-4f58-9a1b-6d1c3f2b8e10")
_WIRE = re.compile(r"^(?P<name>.+?)(?:\[(?P<output>\d+)\])?(?: ~(?P<kind>\w+))?$")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
STEP_X, STEP_Y = 240, 180


def short_id(*parts: str) -> str:
    """Sixteen letters and digits as n8n's ids are, the same for the same parts."""
    number = int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:16], "big")
    letters = []
    for _ in range(16):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


@dataclass(frozen=True, slots=True)
class Node:
    """One node; ``credential`` is a type out of ``catalogue.CREDENTIALS``, ``calls`` the key of another flow."""

    name: str
    type: str
    version: float
    parameters: JSON = field(default_factory=dict)
    credential: str = ""
    calls: str = ""
    notes: str = ""
    extra: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow as it is written down; ``render`` makes n8n's JSON of it for one instance."""

    key: str
    name: str
    nodes: Sequence[Node]
    wires: str
    active: bool = True
    tags: tuple[str, ...] = ()
    settings: JSON = field(default_factory=dict)
    on_failure: str = ""
    note: str = ""

    def render(
        self, *, workflow_id: Callable[[str], str], credential: Callable[[str], JSON], names: Mapping[str, str]
    ) -> JSON:
        """n8n's JSON; ``workflow_id`` and ``credential`` (type → {id, name}) belong to the instance."""
        connections = connect(self.wires)
        places = layout([node.name for node in self.nodes], connections)
        nodes = [_node(self.key, node, places[node.name], workflow_id, credential, names) for node in self.nodes]
        if self.note:
            nodes.append(_sticky(self.key, self.note))
        settings = {"executionOrder": "v1", **self.settings}
        if self.on_failure:
            settings["errorWorkflow"] = workflow_id(self.on_failure)
        return {
            "name": self.name,
            "nodes": nodes,
            "connections": connections,
            "settings": settings,
            "active": self.active,
            "tags": list(self.tags),
        }


def _node(
    key: str,
    node: Node,
    position: list[int],
    workflow_id: Callable[[str], str],
    credential: Callable[[str], JSON],
    names: Mapping[str, str],
) -> JSON:
    made: JSON = {
        "id": str(uuid.uuid5(_SPACE, f"{key}/{node.name}")),
        "name": node.name,
        "type": node.type,
        "typeVersion": node.version,
        "position": position,
        "parameters": dict(node.parameters),
        **node.extra,
    }
    if node.credential:
        made["credentials"] = {node.credential: credential(node.credential)}
    if node.calls:
        made["parameters"]["workflowId"] = {
            "__rl": True,
            "mode": "list",
            "value": workflow_id(node.calls),
            "cachedResultName": names[node.calls],
        }
    if node.notes:
        made["notes"] = node.notes
    if node.type.endswith(("webhook", "formTrigger", "chatTrigger", ".wait")):
        made["webhookId"] = str(uuid.uuid5(_SPACE, f"hook/{key}/{node.name}"))
    return made


def _sticky(key: str, text: str) -> JSON:
    return {
        "id": str(uuid.uuid5(_SPACE, f"note/{key}")),
        "name": "Note",
        "type": "n8n-nodes-base.stickyNote",
        "typeVersion": 1,
        "position": [-60, -220],
        "parameters": {"content": text, "height": 160, "width": 420},
    }


def connect(wires: str) -> JSON:
    """n8n's ``connections`` of lines of wires."""
    made: JSON = {}
    for line in filter(None, (part.strip() for part in wires.replace(";", "\n").splitlines())):
        stops = [_WIRE.match(stop.strip()) for stop in line.split(">")]
        for source, target in pairwise(stops):
            if source is None or target is None:
                raise ValueError(f"not a wire: {line}")
            kind, output = source["kind"] or "main", int(source["output"] or 0)
            lanes = made.setdefault(source["name"], {}).setdefault(kind, [])
            while len(lanes) <= output:
                lanes.append([])
            lanes[output].append({"node": target["name"], "type": kind, "index": 0})
    return made


def layout(names: Sequence[str], connections: Mapping[str, Any]) -> dict[str, list[int]]:
    """Places on the canvas: left to right by distance from the start, parts of an agent below it."""
    depth = dict.fromkeys(names, 0)
    below: dict[str, str] = {}
    for _ in names:
        for source, kinds in connections.items():
            for kind, lanes in kinds.items():
                for target in (wire["node"] for lane in lanes for wire in lane):
                    if kind != "main":
                        below[source] = target
                    elif names.index(target) > names.index(source):
                        depth[target] = max(depth[target], depth[source] + 1)
    rows: dict[int, int] = {}
    places: dict[str, list[int]] = {}
    for name in names:
        if name in below:
            continue
        row = rows.get(depth[name], 0)
        rows[depth[name]] = row + 1
        places[name] = [depth[name] * STEP_X, row * STEP_Y]
    for number, (name, parent) in enumerate(below.items()):
        x, y = places[parent]
        places[name] = [x - STEP_X // 2 + number * 140, y + STEP_Y + 40]
    return places


# -- nodes ------------------------------------------------------------------------------------------------------------

BASE, AI = "n8n-nodes-base.", "@n8n/n8n-nodes-langchain."


def webhook(name: str, path: str, *, method: str = "POST", answer: str = "responseNode", credential: str = "") -> Node:
    parameters = {"httpMethod": method, "path": path, "responseMode": answer, "options": {}}
    if credential:
        parameters["authentication"] = "headerAuth"
    return Node(name, f"{BASE}webhook", 2, parameters, credential=credential)


def schedule(name: str, **interval: Any) -> Node:
    return Node(name, f"{BASE}scheduleTrigger", 1.2, {"rule": {"interval": [interval]}})


def form(name: str, title: str, *fields: str) -> Node:
    values = [{"fieldLabel": label, "requiredField": True} for label in fields]
    return Node(name, f"{BASE}formTrigger", 2.2, {"formTitle": title, "formFields": {"values": values}, "options": {}})


def called(name: str) -> Node:
    return Node(name, f"{BASE}executeWorkflowTrigger", 1.1, {"inputSource": "passthrough"})


def on_error(name: str) -> Node:
    return Node(name, f"{BASE}errorTrigger", 1)


def chat(name: str) -> Node:
    return Node(name, f"{AI}chatTrigger", 1.1, {"public": False, "options": {}})


def code(name: str, text: str, *, notes: str = "") -> Node:
    return Node(name, f"{BASE}code", 2, {"jsCode": text}, notes=notes)


def fields(name: str, **values: str) -> Node:
    made = [
        {"id": str(uuid.uuid5(_SPACE, f"{name}/{label}")), "name": label, "value": value, "type": "string"}
        for label, value in values.items()
    ]
    return Node(name, f"{BASE}set", 3.4, {"assignments": {"assignments": made}, "options": {}})


def test(name: str, left: str, operation: str, right: Any = "", *, kind: str = "string") -> Node:
    operator: JSON = {"type": kind, "operation": operation}
    if operation in {"exists", "true", "empty", "notEmpty"}:
        operator["singleValue"] = True
    condition = {
        "id": str(uuid.uuid5(_SPACE, f"{name}/condition")),
        "leftValue": left,
        "rightValue": right,
        "operator": operator,
    }
    options = {"caseSensitive": True, "leftValue": "", "typeValidation": "strict", "version": 2}
    whole = {"options": options, "conditions": [condition], "combinator": "and"}
    return Node(name, f"{BASE}if", 2.2, {"conditions": whole, "options": {}})


def sql(name: str, query: str, *values: str) -> Node:
    options = {"queryReplacement": "={{ " + ", ".join(values) + " }}"} if values else {}
    parameters = {"operation": "executeQuery", "query": query, "options": options}
    return Node(name, f"{BASE}postgres", 2.5, parameters, credential="postgres")


def http(
    name: str, method: str, url: str, body: str = "", *, credential: str = "httpHeaderAuth", retry: bool = False
) -> Node:
    parameters: JSON = {"method": method, "url": url, "options": {"timeout": 10000}}
    if credential:
        parameters |= {"authentication": "genericCredentialType", "genericAuthType": credential}
    if body:
        parameters |= {"sendBody": True, "specifyBody": "json", "jsonBody": body}
    extra: JSON = {"retryOnFail": True, "maxTries": 3, "waitBetweenTries": 2000} if retry else {}
    return Node(name, f"{BASE}httpRequest", 4.2, parameters, credential=credential, extra=extra)


def slack(name: str, channel: str, text: str) -> Node:
    parameters = {
        "select": "channel",
        "channelId": {"__rl": True, "mode": "name", "value": channel},
        "text": text,
        "otherOptions": {"includeLinkToWorkflow": False},
    }
    return Node(name, f"{BASE}slack", 2.2, parameters, credential="slackApi")


def email(name: str, to: str, subject: str, text: str) -> Node:
    parameters = {
        "fromEmail": "shop@larkfield.example",
        "toEmail": to,
        "subject": subject,
        "emailFormat": "text",
        "text": text,
        "options": {"appendAttribution": False},
    }
    return Node(name, f"{BASE}emailSend", 2.1, parameters, credential="smtp")


def call(name: str, key: str) -> Node:
    return Node(name, f"{BASE}executeWorkflow", 1.2, {"mode": "once", "options": {}}, calls=key)


def answer(name: str, body: str, status: int = 200) -> Node:
    parameters = {"respondWith": "json", "responseBody": body, "options": {"responseCode": status}}
    return Node(name, f"{BASE}respondToWebhook", 1.1, parameters)


def split(name: str, path: str) -> Node:
    return Node(name, f"{BASE}splitOut", 1, {"fieldToSplitOut": path, "options": {}})


def collect(name: str) -> Node:
    return Node(name, f"{BASE}aggregate", 1, {"aggregate": "aggregateAllItemData", "options": {}})


def wait(name: str, amount: int, unit: str) -> Node:
    return Node(name, f"{BASE}wait", 1.1, {"amount": amount, "unit": unit})


def agent(name: str, system: str) -> Node:
    return Node(name, f"{AI}agent", 1.7, {"options": {"systemMessage": system, "maxIterations": 6}})


def model(name: str, which: str, temperature: float = 0.2) -> Node:
    parameters = {"model": {"__rl": True, "mode": "list", "value": which}, "options": {"temperature": temperature}}
    return Node(name, f"{AI}lmChatOpenAi", 1.2, parameters, credential="openAiApi")


def memory(name: str) -> Node:
    return Node(name, f"{AI}memoryBufferWindow", 1.3, {"contextWindowLength": 10})


def tool(name: str, key: str, description: str) -> Node:
    called = re.sub(r"\W+", "_", name.lower())
    return Node(name, f"{AI}toolWorkflow", 2, {"name": called, "description": description}, calls=key)
