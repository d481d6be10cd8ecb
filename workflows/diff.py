"""What differs between two versions of a workflow, in words and as data, bounded however large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.texts import storable_struct

from .content import fingerprint, normalize
from .credential_labels import credential_labels
from .diff_aside import changes_aside
from .diff_links import connection_changes
from .diff_nodes import NodePair, match, node_added, node_changed, node_removed
from .diff_values import ABSENT, RANK, Change, Severity, ValueChange, text_of

MAX_CHANGES = 300
"""Changes that a diff holds; the rest is counted."""
MAX_PARTS = 40
"""Values that one change of a node holds."""
MAX_PARTS_LATER = 4
"""The same once a diff has many changes."""


class WorkflowDiff(msgspec.Struct, frozen=True):
    """Everything that differs. `status`: added, removed, changed or unchanged (as to behaviour).

    `summary` counts all changes; `changes` holds the first 300, the gravest first, and `left_out` counts the rest.
    """

    status: str
    name: str
    severity: Severity = "low"
    summary: dict[str, int] = {}
    changes: tuple[Change, ...] = ()
    left_out: int = 0
    touches: tuple[str, ...] = ()
    v: int = 1

    @property
    def is_empty(self) -> bool:
        """Whether behaviour is equal; the same as equal content hashes."""
        return self.status == "unchanged"

    @property
    def sentences(self) -> list[str]:
        """The changes in words, without what is only stored differently."""
        return [change.sentence for change in self.changes if change.what != "node_kept"]

    def to_json(self) -> dict[str, Any]:
        """As stored; ``stored_diff`` reads it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def stored_diff(document: Any) -> WorkflowDiff:
    """The diff that ``to_json`` wrote, or an older console, whose documents have no ``v``.

    Raises ``msgspec.ValidationError`` for anything else.
    """
    return msgspec.convert(document, WorkflowDiff)


def diff_workflows(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    before_keys: Mapping[str, str] | None = None,
    after_keys: Mapping[str, str] | None = None,
    across: bool = False,
    most: int = MAX_CHANGES,
) -> WorkflowDiff:
    """Compare two portable workflows; None means that it does not exist. At most ``most`` changes are held.

    With ``across`` they come from two environments: credentials, whose ids differ there, go by name then.

    The mappings (workflow id to canonical key) belong to the environment of each side. With them, a reference to the
    same canonical workflow is no change whatever its ids; the result is empty if and only if the hashes are equal.
    """
    if before is None or after is None:
        return _one_sided(before, after)
    labels = by_name if across else credential_labels(before, after)
    old = normalize(before, before_keys or {}, called=labels)
    new = normalize(after, after_keys or {}, called=labels)
    changes = _name_changes(old["name"], new["name"])
    matching = match(before, after, old, new)
    changes += [node_removed(node) for node in matching.removed] + [node_added(node) for node in matching.added]
    _add_node_changes(changes, matching.pairs)
    renamed = {a["name"]: b["name"] for a, b in matching.pairs}
    changes += connection_changes(old["connections"], new["connections"], renamed, _names_by_id(before, after))
    changes += _setting_changes(old["settings"], new["settings"])
    if not any(change.behaviour for change in changes):
        changes += _unnamed_changes(before, after, before_keys, after_keys, across=across)
    status = "changed" if any(change.behaviour for change in changes) else "unchanged"
    changes += changes_aside(before, after, matching.pairs) + _state_changes(before, after)
    return _bounded(status, new["name"], changes, most)


def by_name(_kind: str, name: str, _credential_id: str) -> str:
    """What a credential is called where its id means nothing: between environments."""
    return name


def _name_changes(old: str, new: str) -> list[Change]:
    if old == new:
        return []
    sentence = f"The workflow was renamed from “{old}” to “{new}”."
    return [Change("changed", "name", "Name", sentence, parts=(ValueChange("name", old, new),))]


def _add_node_changes(changes: list[Change], pairs: list[NodePair]) -> None:
    for before, after in pairs:
        most = MAX_PARTS if len(changes) < 2 * MAX_CHANGES else MAX_PARTS_LATER
        change = node_changed(before, after, most)
        if change is not None:
            changes.append(change)


def _names_by_id(*contents: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(node["id"]): str(node.get("name") or "")
        for content in contents
        for node in content.get("nodes") or ()
        if node.get("id")
    }


def _unnamed_changes(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    before_keys: Mapping[str, str] | None,
    after_keys: Mapping[str, str] | None,
    *,
    across: bool,
) -> list[Change]:
    """A change of behaviour that only the hashes show: a diff is empty if and only if they are equal."""
    old, new = fingerprint(before), fingerprint(after)
    if across:
        equal = old.named_hash(before_keys) == new.named_hash(after_keys)
    else:
        equal = old.content_hash(before_keys) == new.content_hash(after_keys)
    if equal:
        return []
    sentence = "The content differs in a way that has no name of its own; compare the JSON."
    return [Change("changed", "other", "Content", sentence, severity="medium")]


def _bounded(status: str, name: str, changes: list[Change], most: int = MAX_CHANGES) -> WorkflowDiff:
    summary = dict(Counter(map(_counted_as, changes)))
    touches = sorted({touch for change in changes if change.behaviour for touch in change.touches})
    worst: Severity = max((change.severity for change in changes), key=lambda severity: RANK[severity], default="low")
    changes.sort(key=lambda change: (not change.behaviour, -RANK[change.severity]))
    kept = tuple(changes[:most])
    return storable_struct(WorkflowDiff(status, name, worst, summary, kept, len(changes) - len(kept), tuple(touches)))


def _counted_as(change: Change) -> str:
    key = change.what if change.what.startswith("node_") else f"{change.what}_{change.kind}"
    return _COUNTED.get(key, key)


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
    if after is not None:
        return _whole("added", after, "is new", node_added)
    if before is not None:
        return _whole("removed", before, "is gone", node_removed)
    return WorkflowDiff("unchanged", "")


def _whole(
    status: str, content: Mapping[str, Any], phrase: str, node_change: Callable[[dict[str, Any]], Change]
) -> WorkflowDiff:
    behaviour = normalize(content, {})
    name, count = behaviour["name"], len(behaviour["nodes"])
    nodes = "1 node" if count == 1 else f"{count:,} nodes"
    head = Change(status, "workflow", name, f"The workflow “{name}” {phrase} ({nodes}).", severity="high")
    return _bounded(status, name, [head, *map(node_change, behaviour["nodes"])])


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
_ACCESS_SETTINGS = ("callerPolicy", "callerIds", "availableInMCP")


def _setting_changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return [
        _setting_change(key, old.get(key, ABSENT), new.get(key, ABSENT))
        for key in dict.fromkeys((*old, *new))
        if not _is_same(old.get(key, ABSENT), new.get(key, ABSENT))
    ]


def _is_same(old: Any, new: Any) -> bool:
    # To Python true is 1.
    return old is not ABSENT and new is not ABSENT and type(old) is type(new) and bool(old == new)


def _setting_change(key: str, old: Any, new: Any) -> Change:
    before, after = text_of(old, False), text_of(new, False)
    title = _SETTING_NAMES.get(key, key)
    sentence = f"{title}: from {before or 'n8n’s default'} to {after or 'n8n’s default'}."
    severity: Severity = "high" if key in _ACCESS_SETTINGS else "medium"
    part = ValueChange(f"settings.{key}", before, after)
    return Change("changed", "setting", title, sentence, severity=severity, parts=(part,))


def _state_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [*_activation_changes(before, after), *_tag_changes(before, after)]


def _activation_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old, new = bool(before.get("active")), bool(after.get("active"))
    if old == new:
        return []
    sentence = f"The workflow was {'published' if new else 'unpublished'}."
    part = ValueChange("active", text_of(old, False), text_of(new, False))
    return [Change("changed", "active", "Published", sentence, severity="high", behaviour=False, parts=(part,))]


def _tag_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old, new = sorted(before.get("tags") or ()), sorted(after.get("tags") or ())
    if old == new:
        return []
    words = [f"+{tag}" for tag in new if tag not in old] + [f"−{tag}" for tag in old if tag not in new]
    part = ValueChange("tags", ", ".join(old), ", ".join(new))
    sentence = f"Tags changed: {', '.join(words[:20])}."
    return [Change("changed", "tags", "Tags", sentence, behaviour=False, parts=(part,))]
