"""What differs between two versions of a workflow, in words and as data, bounded however large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .content import fingerprint, normalize
from .credential_labels import credential_labels
from .diff_nodes import match, node_changed, node_gone, node_new
from .diff_values import ABSENT, RANK, Change, Part, Severity, text_of
from .normalization import STICKY

MAX_CHANGES = 300
MAX_PARTS = 40


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
    across: bool = False,
) -> WorkflowDiff:
    """Compare two portable workflows; None stands for 'does not exist'.

    With ``across`` they come from two environments: credentials, whose ids differ there, go by name then.

    The mappings (workflow id to canonical key) belong to the environment of each side. With them, a reference to the
    same canonical workflow is no change whatever its ids; the result is empty if and only if the hashes are equal.
    """
    if before is None or after is None:
        return _one_sided(before, after)
    called = (lambda _kind, name, _id: name) if across else credential_labels(before, after)
    old, new = (
        normalize(before, before_keys or {}, called=called),
        normalize(after, after_keys or {}, called=called),
    )
    changes: list[Change] = []
    if old["name"] != new["name"]:
        sentence = f"The workflow was renamed from “{old['name']}” to “{new['name']}”."
        part = Part("name", old["name"], new["name"])
        changes.append(Change("changed", "name", "Name", sentence, severity="low", parts=(part,)))
    pairs, removed, added = match(before, after, old, new)
    changes += [node_gone(n) for n in removed] + [node_new(n) for n in added]
    for a, b in pairs:
        change = node_changed(a, b, MAX_PARTS if len(changes) < 2 * MAX_CHANGES else 4)
        if change is not None:
            changes.append(change)
    ids = {str(n["id"]): str(n.get("name") or "") for c in (before, after) for n in c.get("nodes") or () if n.get("id")}
    changes += _connections(old["connections"], new["connections"], {a["name"]: b["name"] for a, b in pairs}, ids)
    changes += _settings(old["settings"], new["settings"])
    changed = any(c.behaviour for c in changes)
    marks = fingerprint(before), fingerprint(after)
    hashes = (
        (marks[0].named_hash(before_keys), marks[1].named_hash(after_keys))
        if across
        else (marks[0].content_hash(before_keys), marks[1].content_hash(after_keys))
    )
    if not changed and hashes[0] != hashes[1]:
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
        if RANK[change.severity] > RANK[worst]:
            worst = change.severity
    changes.sort(key=lambda c: (not c.behaviour, -RANK[c.severity]))
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
    made = [node_new(n) if before is None else node_gone(n) for n in there["nodes"]]
    status, word = ("added", "is new") if before is None else ("removed", "is gone")
    nodes = "1 node" if count == 1 else f"{count:,} nodes"
    head = Change(status, "workflow", name, f"The workflow “{name}” {word} ({nodes}).", severity="high")
    return _bounded(status, name, [head, *made])


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
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        if a is not ABSENT and b is not ABSENT and a == b and type(a) is type(b):
            continue
        before, after = text_of(a, False), text_of(b, False)
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
        sentence = f"The workflow was {'published' if b else 'unpublished'}."
        part = Part("active", text_of(a, False), text_of(b, False))
        changes.append(
            Change("changed", "active", "Published", sentence, severity="high", behaviour=False, parts=(part,))
        )
    old, new = sorted(before.get("tags") or ()), sorted(after.get("tags") or ())
    if old != new:
        words = [f"+{t}" for t in new if t not in old] + [f"−{t}" for t in old if t not in new]
        part = Part("tags", ", ".join(old), ", ".join(new))
        sentence = f"Tags changed: {', '.join(words[:20])}."
        changes.append(Change("changed", "tags", "Tags", sentence, behaviour=False, parts=(part,)))
    return changes
