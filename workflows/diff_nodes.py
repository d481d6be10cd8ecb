"""Nodes of two versions: which is which, what was added, removed, renamed or changed, and how much that weighs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from .diff_values import RANK, Change, Leaf, Severity, ValueChange, leaves, text_of
from .masking import HIDDEN

VALUES_NAMED = 3
"""Changed values of a node that its sentence names; the others are counted."""

Node = dict[str, Any]
NodePair = tuple[Node, Node]


class Matching(NamedTuple):
    """``pairs`` are one node before and after; the others exist on one side only."""

    pairs: list[NodePair]
    removed: list[Node]
    added: list[Node]


def match(before: Mapping[str, Any], after: Mapping[str, Any], old: Node, new: Node) -> Matching:
    """Pair nodes by name, then by id with equal type, then by equal content: the last two are renames.

    ``before`` and ``after`` are the portable workflows, which have ids; ``old`` and ``new`` are what counts of them.
    """
    pairs, removed, added = _matched_by_name(old["nodes"], new["nodes"])
    if removed and added:
        ids_before, ids_after = _ids(before), _ids(after)

        def by_id(node: Node, ids: Mapping[str, str]) -> tuple[str, str] | None:
            node_id = ids.get(node["name"])
            return None if node_id is None else (node_id, node["type"])

        pairs += _matched_by(removed, added, lambda node: by_id(node, ids_before), lambda node: by_id(node, ids_after))
        pairs += _matched_by(removed, added, _body, _body)
    return Matching(pairs, removed, added)


def _matched_by_name(old: list[Node], new: list[Node]) -> Matching:
    left: dict[str, list[Node]] = {}
    for node in old:
        left.setdefault(node["name"], []).append(node)
    pairs, added = [], []
    for node in new:
        if left.get(node["name"]):
            pairs.append((left[node["name"]].pop(0), node))
        else:
            added.append(node)
    return Matching(pairs, [node for nodes in left.values() for node in nodes], added)


def _matched_by(
    removed: list[Node],
    added: list[Node],
    signature_before: Callable[[Node], Any],
    signature_after: Callable[[Node], Any],
) -> list[NodePair]:
    """Pairs of equal signatures, taken out of both lists; a node whose signature is None has no pair."""
    index = {signature_before(node): node for node in removed}
    pairs, unmatched = [], []
    for node in added:
        signature = signature_after(node)
        found = index.pop(signature, None) if signature is not None else None
        if found is None:
            unmatched.append(node)
        else:
            pairs.append((found, node))
            removed.remove(found)
    added[:] = unmatched
    return pairs


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


_TRIGGERS = frozenset({"webhook", "cron", "interval", "emailreadimap", "start"})
_FORMS = frozenset({"formtrigger", "chattrigger"})
_HTTP = frozenset({"httprequest", "httprequesttool", "toolhttprequest", "graphql"})
_CODE = frozenset({"code", "function", "functionitem", "toolcode", "executecommand", "ssh", "pythonfunction"})

_TOUCHES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("trigger", lambda kind: kind.endswith("trigger") or kind in _TRIGGERS),
    ("webhook", lambda kind: "webhook" in kind or kind in _FORMS),
    ("http", lambda kind: kind in _HTTP),
    ("code", lambda kind: kind in _CODE),
    ("subworkflow", lambda kind: "executeworkflow" in kind or "toolworkflow" in kind),
)


def touched(node: Mapping[str, Any]) -> tuple[str, ...]:
    """What kind of thing a node is, where that matters for risk."""
    kind = _short_type(node).lower()
    return tuple(name for name, applies in _TOUCHES if applies(kind))


def _severity(touches: tuple[str, ...]) -> Severity:
    if {"credentials", "trigger", "webhook"} & set(touches):
        return "high"
    return "medium" if touches else "low"


def node_added(node: Node) -> Change:
    """The change that brought a node."""
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was added."
    return Change("added", "node_added", node["name"], sentence, node["name"], "", _severity(touches), touches)


def node_removed(node: Node) -> Change:
    """The change that took a node away; of medium severity at least."""
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was removed."
    severity: Severity = max("medium", _severity(touches), key=lambda s: RANK[s])
    return Change("removed", "node_removed", node["name"], sentence, "", node["name"], severity, touches)


def node_changed(before: Node, after: Node, most: int) -> Change | None:
    """What changed in a node, with ``most`` values at most; None where nothing did."""
    if before == after and repr(before) == repr(after):
        return None
    name, renamed = after["name"], before["name"] != after["name"]
    differing = _differing(before, after)
    if not differing and not renamed:
        return None
    parts = [ValueChange(path, text_of(old, hide), text_of(new, hide)) for path, old, new, hide in differing[:most]]
    left_out = len(differing) - len(parts)
    what = "node_renamed" if renamed else _switched(parts)
    subject = f"Node “{before['name']}” is now called “{name}”" if renamed else f"Node “{name}”"
    phrases = _phrases(parts, left_out)
    touches = touched(after)
    if before.get("credentials") != after.get("credentials"):
        touches += ("credentials",)
    shown = [ValueChange("name", before["name"], name)] if renamed else []
    shown += [ValueChange(_short_path(part.path), part.before, part.after) for part in parts]
    return Change(
        "changed",
        what,
        name,
        subject + (": " + ", ".join(phrases) if phrases else "") + ".",
        name,
        before["name"],
        _severity_of_change(what, touches, bool(parts)),
        touches,
        parts=tuple(shown),
        parts_left_out=left_out,
    )


def _differing(before: Node, after: Node) -> list[Leaf]:
    """The values that differ, flags and credentials first: they weigh more than parameters."""
    old = {k: v for k, v in before.items() if k != "name"}
    new = {k: v for k, v in after.items() if k != "name"}
    return sorted(leaves(old, new, ""), key=lambda leaf: leaf[0].startswith("parameters"))


def _switched(parts: list[ValueChange]) -> str:
    flag = next((part for part in parts if part.path == "disabled"), None)
    if flag is None:
        return "node_changed"
    return "node_enabled" if flag.after is None else "node_disabled"


def _severity_of_change(what: str, touches: tuple[str, ...], has_values: bool) -> Severity:
    if what in ("node_disabled", "node_enabled"):
        return "high" if "trigger" in touches else "medium"
    return _severity(touches) if has_values else "low"


def _short_path(path: str) -> str:
    return path.removeprefix("parameters.")


def _phrases(parts: list[ValueChange], left_out: int) -> list[str]:
    switched = ["switched on" if part.after is None else "switched off" for part in parts if part.path == "disabled"]
    others = [part for part in parts if part.path != "disabled"]
    more = len(others) + left_out - VALUES_NAMED
    named = [_phrase(part) for part in others[:VALUES_NAMED]]
    return [*switched, *named, *([f"and {more} more values"] if more > 0 else [])]


def _phrase(part: ValueChange) -> str:
    path, old, new = _short_path(part.path), part.before, part.after
    if old is not None and old == new:
        return f"{path} changed (hidden)" if HIDDEN in old else f"{path} changed"
    if old is None:
        return f"{path} set to {_one_line(new or '')}"
    if new is None:
        return f"{path} removed (was {_one_line(old)})"
    return f"{path} changed from {_one_line(old)} to {_one_line(new)}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
