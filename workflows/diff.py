"""What differs between two versions of a workflow, in words and as data, bounded however large they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from .content import fingerprint, normalize
from .masking import HIDDEN, is_secret_name, mask
from .normalization import STICKY

MAX_CHANGES = 300
MAX_PARTS = 40
MAX_TEXT = 400

Severity = Literal["low", "medium", "high"]
_RANK = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True, slots=True)
class Part:
    """One value that changed: its path, and what it was and is, as text without secrets."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed.

    `kind` is `added`, `removed`, `changed` or `moved`; `what` is the narrower word (`node_renamed`, `connection`,
    `setting`, `node_disabled`…). `touches` holds hints: credentials, trigger, webhook, http, code, subworkflow.
    `behaviour` is False for what does not count as drift (places, notes, tags, being active).
    """

    kind: str
    what: str
    title: str
    sentence: str
    node: str = ""
    before_node: str = ""
    severity: Severity = "low"
    touches: tuple[str, ...] = ()
    behaviour: bool = True
    parts: tuple[Part, ...] = ()
    parts_left_out: int = 0


@dataclass(frozen=True, slots=True)
class WorkflowDiff:
    """Everything that differs. `status`: added, removed, changed or unchanged (as to behaviour).

    `summary` counts all changes; `changes` holds the first 300, the gravest first, and `left_out` counts the rest.
    """

    status: str
    name: str
    severity: Severity = "low"
    summary: dict[str, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    left_out: int = 0
    touches: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether behaviour is equal; the same as equal content hashes."""
        return self.status == "unchanged"

    @property
    def sentences(self) -> list[str]:
        """The changes in words."""
        return [change.sentence for change in self.changes]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "sentences": self.sentences}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkflowDiff:
        """From what `to_dict` gave; keys that are not known are left aside."""
        changes = tuple(
            Change(
                **{
                    **{k: v for k, v in c.items() if k in Change.__slots__},
                    "touches": tuple(c.get("touches", ())),
                    "parts": tuple(Part(**p) for p in c.get("parts", ())),
                }
            )
            for c in data.get("changes", ())
        )
        known = {k: v for k, v in data.items() if k in cls.__slots__}
        return cls(**{**known, "changes": changes, "touches": tuple(data.get("touches", ()))})


def diff_workflows(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    before_keys: Mapping[str, str] | None = None,
    after_keys: Mapping[str, str] | None = None,
) -> WorkflowDiff:
    """Compare two portable workflows; None stands for 'does not exist'.

    The mappings (workflow id to canonical key) belong to the environment of each side. With them, a reference to the
    same canonical workflow is no change whatever its ids; the result is empty if and only if the hashes are equal.
    """
    if before is None or after is None:
        return _one_sided(before, after)
    old, new = normalize(before, before_keys or {}), normalize(after, after_keys or {})
    changes: list[Change] = []
    if old["name"] != new["name"]:
        sentence = f"The workflow was renamed from “{old['name']}” to “{new['name']}”."
        part = Part("name", old["name"], new["name"])
        changes.append(Change("changed", "name", "Name", sentence, severity="low", parts=(part,)))
    pairs, removed, added = _match(before, after, old, new)
    changes += [_node_gone(n) for n in removed] + [_node_new(n) for n in added]
    for a, b in pairs:
        change = _node_changed(a, b, MAX_PARTS if len(changes) < 2 * MAX_CHANGES else 4)
        if change is not None:
            changes.append(change)
    ids = {str(n["id"]): str(n.get("name") or "") for c in (before, after) for n in c.get("nodes") or () if n.get("id")}
    changes += _connections(old["connections"], new["connections"], {a["name"]: b["name"] for a, b in pairs}, ids)
    changes += _settings(old["settings"], new["settings"])
    changed = any(c.behaviour for c in changes)
    if not changed and fingerprint(before).content_hash(before_keys) != fingerprint(after).content_hash(after_keys):
        sentence = "The content differs in a way that has no name of its own; compare the JSON."
        changes.append(Change("changed", "other", "Content", sentence, severity="medium"))
        changed = True
    changes += _cosmetic(before, after, pairs) + _state(before, after)
    return _bounded("changed" if changed else "unchanged", new["name"], changes)


def _bounded(status: str, name: str, changes: list[Change]) -> WorkflowDiff:
    summary: dict[str, int] = {}
    touches: set[str] = set()
    worst: Severity = "low"
    for change in changes:
        key = change.what if change.what.startswith("node_") else f"{change.what}_{change.kind}"
        summary[_COUNTED.get(key, key)] = summary.get(_COUNTED.get(key, key), 0) + 1
        if change.behaviour:
            touches.update(change.touches)
        if _RANK[change.severity] > _RANK[worst]:
            worst = change.severity
    changes.sort(key=lambda c: (not c.behaviour, -_RANK[c.severity]))
    kept = tuple(changes[:MAX_CHANGES])
    return WorkflowDiff(status, name, worst, summary, kept, len(changes) - len(kept), tuple(sorted(touches)))


_COUNTED = {
    "node_added": "nodes_added",
    "node_removed": "nodes_removed",
    "node_changed": "nodes_changed",
    "node_renamed": "nodes_renamed",
    "node_moved": "nodes_moved",
    "node_noted": "nodes_noted",
    "node_disabled": "nodes_disabled",
    "node_enabled": "nodes_enabled",
    "connection_added": "connections_added",
    "connection_removed": "connections_removed",
    "connection_changed": "connections_reordered",
    "setting_changed": "settings_changed",
    "active_changed": "active_changed",
    "tags_changed": "tags_changed",
    "name_changed": "name_changed",
}


def _one_sided(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> WorkflowDiff:
    if before is None and after is None:
        return WorkflowDiff("unchanged", "")
    there = normalize(after if after is not None else before or {}, {})
    name, count = there["name"], len(there["nodes"])
    made = [_node_new(n) if before is None else _node_gone(n) for n in there["nodes"]]
    status, word = ("added", "is new") if before is None else ("removed", "is gone")
    nodes = "1 node" if count == 1 else f"{count:,} nodes"
    head = Change(status, "workflow", name, f"The workflow “{name}” {word} ({nodes}).", severity="high")
    return _bounded(status, name, [head, *made])


def _match(
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


def _node_new(node: dict[str, Any]) -> Change:
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was added."
    return Change("added", "node_added", node["name"], sentence, node["name"], "", _severity(touches), touches)


def _node_gone(node: dict[str, Any]) -> Change:
    touches = touched(node) + (("credentials",) if node.get("credentials") else ())
    sentence = f"Node “{node['name']}” ({_short_type(node)}) was removed."
    severity: Severity = max("medium", _severity(touches), key=lambda s: _RANK[s])  # type: ignore[assignment]
    return Change("removed", "node_removed", node["name"], sentence, "", node["name"], severity, touches)


def _node_changed(a: dict[str, Any], b: dict[str, Any], most: int) -> Change | None:
    if a == b and repr(a) == repr(b):
        return None
    name, renamed = b["name"], a["name"] != b["name"]
    leaves = list(_parts({k: v for k, v in a.items() if k != "name"}, {k: v for k, v in b.items() if k != "name"}, ""))
    leaves.sort(key=lambda leaf: leaf[0].startswith("parameters"))  # flags and credentials first: they weigh more
    found = [(path, _text(old, hide), _text(new, hide)) for path, old, new, hide in leaves[:most]]
    more = len(leaves) - len(found)
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


_ABSENT: Any = object()


def _parts(a: Any, b: Any, path: str, secret: bool = False, depth: int = 0) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield (path, before, after, whether it is a secret by its name) for each leaf that differs."""
    if a is b or (type(a) is type(b) and a == b and not isinstance(a, dict | list)):
        return
    if isinstance(a, dict) and isinstance(b, dict) and depth < 60:
        named = any(isinstance(d.get(k), str) and is_secret_name(d[k]) for d in (a, b) for k in ("name", "key"))
        for key in dict.fromkeys((*a, *b)):
            hide = secret or (is_secret_name(key) and path != "credentials") or (named and key == "value")
            where = f"{path}.{key}" if path else str(key)
            yield from _parts(a.get(key, _ABSENT), b.get(key, _ABSENT), where, hide, depth + 1)
    elif isinstance(a, list) and isinstance(b, list) and depth < 60:
        for i in range(max(len(a), len(b))):
            old, new = a[i] if i < len(a) else _ABSENT, b[i] if i < len(b) else _ABSENT
            yield from _parts(old, new, f"{path}[{i}]", secret, depth + 1)
    else:
        yield path, a, b, secret


def _text(value: Any, secret: bool) -> str | None:
    if value is _ABSENT:
        return None
    if isinstance(value, str):
        return _cut(mask(value, secret=secret))
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "on", False: "off"}[value]
    if isinstance(value, int | float):
        return HIDDEN if secret else str(value)
    return HIDDEN if secret else _cut(mask(_plain(_masked(value))))


def _masked(value: Any, depth: int = 0) -> Any:
    if depth > 60:
        return "…"
    if isinstance(value, dict):
        named = any(isinstance(value.get(k), str) and is_secret_name(value[k]) for k in ("name", "key"))
        return {
            k: mask(v, secret=is_secret_name(k) or (named and k == "value"))
            if isinstance(v, str)
            else _masked(v, depth + 1)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_masked(v, depth + 1) for v in value]
    return mask(value) if isinstance(value, str) else value


def _plain(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return repr(value)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _edges(connections: Mapping[str, Any], names: Mapping[str, str]) -> dict[tuple[Any, ...], int]:
    target: list[Any]
    found: dict[tuple[Any, ...], int] = {}
    for source, kinds in connections.items():
        for kind, outputs in kinds.items():
            for number, links in enumerate(outputs):
                for link in links:
                    target = link if isinstance(link, list) else [str(link), "main", 0]
                    edge = (
                        names.get(source, source),
                        kind,
                        number,
                        names.get(target[0], target[0]),
                        *map(str, target[1:]),
                    )
                    found[edge] = found.get(edge, 0) + 1
    return found


def _connections(
    old: dict[str, Any], new: dict[str, Any], renamed: Mapping[str, str], ids: Mapping[str, str]
) -> list[Change]:
    if old == new:
        return []
    was, now = _edges(old, renamed), _edges(new, {})
    changes = []
    for edges, others, kind, word in ((was, now, "removed", "no longer leads"), (now, was, "added", "now leads")):
        for edge, count in edges.items():
            for _ in range(count - others.get(edge, 0)):
                # Files that were not made by n8n itself may name the ends by the nodes' ids.
                source, way, number, target = ids.get(edge[0], edge[0]), *edge[1:3], ids.get(edge[3], edge[3])
                output = f" (output {number + 1})" if number else ""
                by = "" if way == "main" else f" as {way}"
                sentence = f"“{source}”{output} {word} to “{target}”{by}."
                changes.append(
                    Change(kind, "connection", f"{source} → {target}", sentence, str(source), severity="medium")
                )
    if not changes and {renamed.get(k, k): v for k, v in old.items()}.keys() == new.keys() and was == now:
        links = [f"“{s}”" for s in new if s in old and old[s] != new[s] and renamed.get(s, s) == s]
        same_names = all(a == b for a, b in renamed.items())
        if links and same_names:
            sentence = f"The order of what follows {', '.join(links[:5])} changed; older execution order goes by it."
            changes.append(Change("changed", "connection", "Order of connections", sentence, severity="low"))
    return changes


_SETTING_NAMES = {
    "executionOrder": "Execution order",
    "saveManualExecutions": "Saving of manual runs",
    "saveExecutionProgress": "Saving of progress",
    "saveDataErrorExecution": "Saving of failed runs",
    "saveDataSuccessExecution": "Saving of successful runs",
    "executionTimeout": "Time limit in seconds",
    "timezone": "Time zone",
    "errorWorkflow": "Error workflow",
    "callerPolicy": "Who may call it",
    "callerIds": "Workflows that may call it",
    "timeSavedPerExecution": "Minutes saved per run",
    "availableInMCP": "Available by MCP",
}


def _settings(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    changes = []
    for key in dict.fromkeys((*old, *new)):
        a, b = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if a is not _ABSENT and b is not _ABSENT and a == b and type(a) is type(b):
            continue
        before, after = _text(a, False), _text(b, False)
        title = _SETTING_NAMES.get(key, key)
        sentence = f"{title}: from {before or 'n8n’s default'} to {after or 'n8n’s default'}."
        severity: Severity = "high" if key in ("callerPolicy", "callerIds", "availableInMCP") else "medium"
        part = Part(f"settings.{key}", before, after)
        changes.append(Change("changed", "setting", title, sentence, severity=severity, parts=(part,)))
    return changes


def _cosmetic(
    before: Mapping[str, Any], after: Mapping[str, Any], pairs: list[tuple[dict[str, Any], dict[str, Any]]]
) -> list[Change]:
    """Places and notes: told, but no change of behaviour."""
    was = {str(n.get("name") or ""): n for n in before.get("nodes") or ()}
    now = {str(n.get("name") or ""): n for n in after.get("nodes") or ()}
    changes = []
    for a, b in pairs:
        old, new, name = was[a["name"]], now[b["name"]], b["name"]
        if old.get("position") != new.get("position"):
            sentence = f"Node “{name}” was moved on the canvas."
            changes.append(Change("moved", "node_moved", name, sentence, name, a["name"], behaviour=False))
        if (old.get("notes") or "") != (new.get("notes") or ""):
            sentence = f"The note on “{name}” changed."
            changes.append(Change("changed", "node_noted", name, sentence, name, a["name"], behaviour=False))
    notes = [
        sorted(
            str((n.get("parameters") or {}).get("content") or "")
            for n in c.get("nodes") or ()
            if n.get("type") == STICKY
        )
        for c in (before, after)
    ]
    if notes[0] != notes[1]:
        changes.append(Change("changed", "notes", "Sticky notes", "Sticky notes changed.", behaviour=False))
    return changes


def _state(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    changes = []
    a, b = bool(before.get("active")), bool(after.get("active"))
    if a != b:
        sentence = f"The workflow was {'activated' if b else 'deactivated'}."
        part = Part("active", _text(a, False), _text(b, False))
        changes.append(Change("changed", "active", "Active", sentence, severity="high", behaviour=False, parts=(part,)))
    old, new = sorted(before.get("tags") or ()), sorted(after.get("tags") or ())
    if old != new:
        words = [f"+{t}" for t in new if t not in old] + [f"−{t}" for t in old if t not in new]
        part = Part("tags", ", ".join(old), ", ".join(new))
        sentence = f"Tags changed: {', '.join(words[:20])}."
        changes.append(Change("changed", "tags", "Tags", sentence, behaviour=False, parts=(part,)))
    return changes
