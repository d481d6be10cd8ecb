"""Nodes of two versions: which is which, what was added, removed, renamed or changed, and how much that weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .diff_values import RANK, Change, Part, Severity, leaves, text_of
from .masking import HIDDEN


def match(
    before: Mapping[str, Any], after: Mapping[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Pair nodes by name, then by id with equal type, then by equal content: the last two are renames."""
    left: dict[str, list[dict[str, Any]]] = {}
    for node in old["nodes"]:
        left.setdefault(node["name"], []).append(node)
    pairs, rest = [], []
    for node in new["nodes"]:
        if left.get(node["name"]):
            pairs.append((left[node["name"]].pop(0), node))
        else:
            rest.append(node)
    gone = [n for nodes in left.values() for n in nodes]
    if gone and rest:
        ids_before, ids_after = _ids(before), _ids(after)
        for signature in (lambda n, ids: (ids.get(n["name"]), n["type"]), lambda n, _ids: _body(n)):
            index = {signature(n, ids_before): n for n in gone}
            still = []
            for node in rest:
                match = index.pop(signature(node, ids_after), None)
                known = match is not None and signature(node, ids_after)[0:1] != (None,)
                if match is not None and known:
                    pairs.append((match, node))
                    gone.remove(match)
                else:
                    still.append(node)
            rest = still
    return pairs, gone, rest


def _ids(content: Mapping[str, Any]) -> dict[str, str]:
    return {str(n.get("name") or ""): str(n["id"]) for n in content.get("nodes") or () if n.get("id")}


def _body(node: Mapping[str, Any]) -> bytes:
    rest = {k: v for k, v in node.items() if k != "name"}
    try:
        return orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return repr(rest).encode("utf-8", "surrogatepass")


def _short_type(node: Mapping[str, Any]) -> str:
    return str(node["type"]).rsplit(".", 1)[-1]


def touched(node: Mapping[str, Any]) -> tuple[str, ...]:
    """What kind of thing a node is, where that matters for risk."""
    kind = _short_type(node).lower()
    found = []
    if kind.endswith("trigger") or kind in ("webhook", "cron", "interval", "emailreadimap", "start"):
        found.append("trigger")
    if "webhook" in kind or kind in ("formtrigger", "chattrigger"):
        found.append("webhook")
    if kind in ("httprequest", "httprequesttool", "toolhttprequest", "graphql"):
        found.append("http")
    if kind in ("code", "function", "functionitem", "toolcode", "executecommand", "ssh", "pythonfunction"):
        found.append("code")
    if "executeworkflow" in kind or "toolworkflow" in kind:
        found.append("subworkflow")
    return tuple(found)


def _severity(touches: tuple[str, ...]) -> Severity:
    if {"credentials", "trigger", "webhook"} & set(touches):
        return "high"
    return "medium" if touches else "low"


def node_new(node: dict[str, Any]) -> Change:
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was added."
    return Change("added", "node_added", node["name"], sentence, node["name"], "", _severity(touches), touches)


def node_gone(node: dict[str, Any]) -> Change:
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was removed."
    severity: Severity = max("medium", _severity(touches), key=lambda s: RANK[s])
    return Change("removed", "node_removed", node["name"], sentence, "", node["name"], severity, touches)


def node_changed(a: dict[str, Any], b: dict[str, Any], most: int) -> Change | None:
    if a == b and repr(a) == repr(b):
        return None
    name, renamed = b["name"], a["name"] != b["name"]
    differing = list(
        leaves({k: v for k, v in a.items() if k != "name"}, {k: v for k, v in b.items() if k != "name"}, "")
    )
    differing.sort(key=lambda leaf: leaf[0].startswith("parameters"))  # flags and credentials first: they weigh more
    found = [(path, text_of(old, hide), text_of(new, hide)) for path, old, new, hide in differing[:most]]
    more = len(differing) - len(found)
    parts = [Part(path.removeprefix("parameters."), old, new) for path, old, new in found]
    touches = touched(b) + (("credentials",) if a.get("credentials") != b.get("credentials") else ())
    said, what, subject = [], "node_changed", f"Node “{name}”"
    if renamed:
        what, subject = "node_renamed", f"Node “{a['name']}” is now called “{name}”"
        parts.insert(0, Part("name", a["name"], name))
    for path, _old, new in found:
        if path == "disabled":
            said.append("switched on" if new is None else "switched off")
            what = what if renamed else ("node_enabled" if new is None else "node_disabled")
    others = [(p.removeprefix("parameters."), o, n) for p, o, n in found if p != "disabled"]
    said += [_said(*other) for other in others[:3]]
    if len(others) + more > 3:
        said.append(f"and {len(others) + more - 3} more values")
    sentence = subject + (": " + ", ".join(said) if said else "") + "."
    if not found and not renamed:
        return None
    severity = _severity(touches) if found else "low"
    if what in ("node_disabled", "node_enabled"):
        severity = "high" if "trigger" in touches else "medium"
    return Change("changed", what, name, sentence, name, a["name"], severity, touches, True, tuple(parts), more)


def _said(path: str, old: str | None, new: str | None) -> str:
    def short(text: str) -> str:
        line = " ".join(text.split())
        return line if len(line) <= 60 else line[:59] + "…"

    if old == new == HIDDEN or (old == new and old is not None):
        return f"{path} changed (hidden)" if HIDDEN in (old or "") else f"{path} changed"
    if old is None:
        return f"{path} set to {short(new or '')}"
    if new is None:
        return f"{path} removed (was {short(old)})"
    return f"{path} changed from {short(old)} to {short(new)}"
