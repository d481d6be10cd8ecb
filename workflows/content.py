"""What a workflow is: the part that is kept, its bytes in Git, and the fingerprint of its behaviour.

Pure Python without Django. Three views of one workflow, from widest to narrowest:

* *raw*: n8n's answer, with ids, versions and people's addresses;
* *portable*: all that is needed to rebuild it exactly (`portable`, `dump`, `parse`);
* *normalized*: behaviour only (`normalize`, `fingerprint`).

From 2.0 on n8n runs a published version beside a draft that its editor saves every few seconds. *The* content of a
workflow is what runs: the published version where there is one, else the draft. Where the two differ, the draft is a
content of its own (`draft_of`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from core.texts import storable

from .content_warnings import warnings
from .errors import ContentError
from .exact_json import dump, exact_bytes, loads, loads_workflow
from .names import suggest_key
from .normalization import NORMALIZATION_VERSION, tidy, view

__all__ = [
    "NORMALIZATION_VERSION",
    "PARSE_LIMIT",
    "ContentError",
    "Fingerprint",
    "LiveVersion",
    "UnreadWorkflow",
    "content_hash",
    "draft_of",
    "dump",
    "fingerprint",
    "is_archived",
    "live_version",
    "loads",
    "loads_workflow",
    "normalize",
    "parse",
    "portable",
    "suggest_key",
    "warnings",
]

PARSE_LIMIT = 64 * 1024 * 1024
"""Bytes of one workflow that `parse` takes by default. n8n takes 16 MiB, which are more where lines are indented."""

VERSION_ID_LIMIT = 64
_VERSION_TEXT_LIMIT = 500
"""Characters that are kept of each text about a version."""

_KEPT_WHERE_SET = ("staticData", "pinData", "description")
_NOT_SET: tuple[Any, ...] = (None, "", {})
_UNTIDY = re.compile(rb'"cachedResult|[:,\[]-?\d+\.0[,}\]]')


class LiveVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The version that n8n runs, as n8n describes it: ``authors`` are names; ``saved_at`` is when its content
    was saved (ISO 8601)."""

    version_id: str
    authors: str = ""
    name: str = ""
    saved_at: str = ""

    @property
    def saved(self) -> datetime | None:
        """``saved_at`` as a time; None where it is missing or cannot be read."""
        try:
            return datetime.fromisoformat(self.saved_at)
        except ValueError:
            return None

    def to_json(self) -> dict[str, str]:
        """As stored; what is empty is left out."""
        found: dict[str, str] = msgspec.to_builtins(self)
        return found


class UnreadWorkflow(dict[str, Any]):
    """What stands for a workflow whose answer could not be taken: its id, its name where that is known, and why."""

    def __init__(self, workflow_id: str, name: str, reason: str) -> None:
        super().__init__(id=workflow_id, name=name)
        self.reason = reason


def portable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of n8n's answer `raw`: the content that runs, or the draft where nothing is published.

    Values are shared with `raw`, not copied. Ids, versions, counters and `shared` (people's addresses) stay behind.
    Raises `ContentError` where it is no workflow.
    """
    if not isinstance(raw, Mapping):
        raise ContentError("A workflow is a JSON object; this is something else.")
    if isinstance(raw, UnreadWorkflow):
        raise ContentError(raw.reason)
    return _portable(raw, _running(raw) or raw)


def draft_of(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the draft as a portable workflow where it is another version than what runs, else None.

    Two versions may hold the same; whether they do is for the caller to compare. Raises `ContentError`.
    """
    return _portable(raw, raw) if _running(raw) is not None else None


def live_version(raw: Mapping[str, Any]) -> LiveVersion | None:
    """Which version runs, where this n8n has versions and one is published."""
    version_id, version = raw.get("activeVersionId"), raw.get("activeVersion")
    if not isinstance(version_id, str) or not version_id:
        return None
    fields: Mapping[str, Any] = version if isinstance(version, dict) else {}
    return LiveVersion(
        version_id=storable(version_id)[:VERSION_ID_LIMIT],
        authors=_version_text(fields.get("authors")),
        name=_version_text(fields.get("name")),
        saved_at=_version_text(fields.get("createdAt")),
    )


def _version_text(value: Any) -> str:
    return storable(value)[:_VERSION_TEXT_LIMIT] if isinstance(value, str) else ""


def is_archived(raw: Mapping[str, Any]) -> bool:
    """Whether the workflow is in n8n's archive."""
    return bool(raw.get("isArchived"))


def _running(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The published version, where it is another one than the draft."""
    active = raw.get("activeVersion")
    if not isinstance(active, dict) or not isinstance(active.get("nodes"), list):
        return None
    return None if raw.get("activeVersionId") == raw.get("versionId") else active


def _portable(raw: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    """`version` holds what n8n keeps by version (nodes, connections, groups), `raw` all the rest."""
    nodes = _checked_nodes(version.get("nodes"))
    connections, settings = version.get("connections") or {}, raw.get("settings") or {}
    if not isinstance(connections, dict) or not isinstance(settings, dict):
        raise ContentError("Connections and settings of a workflow are JSON objects; here they are not.")
    tags = _tag_names(raw.get("tags") or ())
    out: dict[str, Any] = {
        "name": _name(raw),
        "nodes": nodes,
        "connections": connections,
        "settings": settings,
        "active": bool(raw.get("active")),
        "tags": tags,
    }
    out |= {key: raw[key] for key in _KEPT_WHERE_SET if raw.get(key) not in _NOT_SET}
    if version.get("nodeGroups"):
        out["nodeGroups"] = version["nodeGroups"]
    if raw.get("isArchived") or raw.get("archived"):
        out["archived"] = True
    folder = _folder(raw)
    if isinstance(folder, str):
        out["folder"] = folder
    return out


def _checked_nodes(nodes: Any) -> list[dict[str, Any]]:
    if not isinstance(nodes, list):
        raise ContentError("The list of nodes is missing.")
    for number, node in enumerate(nodes, 1):
        if not isinstance(node, dict):
            raise ContentError(f"Node {number} is not an object.")
        for key in ("parameters", "credentials"):
            if node.get(key) and not isinstance(node[key], dict):
                raise ContentError(f"The {key} of node {number} are not an object.")
    return nodes


def _name(raw: Mapping[str, Any]) -> str:
    name = raw.get("name")
    if name is not None and not isinstance(name, str):
        raise ContentError("The name of the workflow is not text.")
    return name or ""


def _folder(raw: Mapping[str, Any]) -> Any:
    parent = raw.get("parentFolder")
    return raw.get("parentFolderId") or raw.get("folder") or (parent.get("id") if isinstance(parent, dict) else None)


def _tag_names(tags: Any) -> list[str]:
    if not isinstance(tags, list | tuple):
        raise ContentError("The tags of the workflow are not a list.")
    return sorted({name for name in map(_tag_name, tags) if name})


def _tag_name(tag: Any) -> str:
    if isinstance(tag, Mapping):
        tag = tag.get("name")
    return tag if isinstance(tag, str) else ""


def parse(data: bytes, *, limit: int = PARSE_LIMIT) -> dict[str, Any]:
    """Return the portable workflow in `data`; strict. Raises `ContentError`, whose sentence says what is wrong."""
    if len(data) > limit:
        raise ContentError(
            f"The workflow has {len(data):,} bytes; {limit:,} are allowed.",
            details={"bytes": len(data), "limit": limit},
        )
    return portable(loads_workflow(data))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A hash of behaviour in which references are still open.

    `body` covers all but the references; `workflow_refs` are ids in the environment the workflow comes from.
    `credential_names`, `credential_ids` and `credential_types` are those of credentials and data tables there; all in
    the order in which they occur. An id is empty where the workflow does not hold one.
    """

    version: int
    body: str
    workflow_refs: tuple[str, ...]
    credential_names: tuple[str, ...] = ()
    credential_ids: tuple[str, ...] = ()
    credential_types: tuple[str, ...] = ()

    def content_hash(self, key_by_workflow_id: Mapping[str, str] | None = None) -> str:
        """64 hex digits. Equal where behaviour is equal and references lead to the same workflows and credentials.

        Credentials go by their ids: n8n rewrites the names that a node keeps of them whenever it saves one.
        """
        return self._hash(key_by_workflow_id or {}, self._own())

    def comparable_hash(self, key_by_workflow_id: Mapping[str, str] | None = None) -> str:
        """As `content_hash`, with credentials by their type only: equal across environments."""
        return self._hash(key_by_workflow_id or {}, None)

    def named_hash(self, key_by_workflow_id: Mapping[str, str] | None = None) -> str:
        """As `content_hash`, with credentials by the names that nodes keep of them."""
        return self._hash(key_by_workflow_id or {}, self.credential_names)

    def missing(self, key_by_workflow_id: Mapping[str, str]) -> list[str]:
        """Ids of workflows that are referred to and not in the mapping."""
        return [ref for ref in dict.fromkeys(self.workflow_refs) if ref not in key_by_workflow_id]

    def _own(self) -> tuple[str, ...]:
        if self.version < 2:
            return self.credential_names
        return tuple(
            f"id:{i}" if i else f"name:{n}" for n, i in zip(self.credential_names, self.credential_ids, strict=True)
        )

    def _hash(self, keys: Mapping[str, str], credentials: tuple[str, ...] | None) -> str:
        refs = [f"key:{keys[ref]}" if ref in keys else f"missing:{ref}" for ref in self.workflow_refs]
        return hashlib.sha256(exact_bytes([self.version, self.body, refs, credentials])).hexdigest()


def fingerprint(content: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of a portable workflow; raises `ContentError` where a part of it has no such shape.

    No deep copy is made; about 10,000 real workflows a second.
    """
    refs: list[str] = []
    names: list[str] = []
    ids: list[str] = []
    kinds: list[str] = []

    def workflow_ref(ref: str) -> dict[str, int]:
        refs.append(storable(ref))
        return {"$workflow": len(refs) - 1}

    def credential_ref(kind: str, name: str, credential_id: str) -> int:
        kinds.append(storable(kind))
        names.append(storable(name))
        ids.append(storable(credential_id))
        return 0

    try:
        behaviour = view(content, workflow_ref, credential_ref)
        data = exact_bytes(behaviour)
        # Searching for bytes is ten times faster than the pattern, which cannot match without one of them.
        if (b'"cachedResult' in data or b".0" in data) and _UNTIDY.search(data):
            data = exact_bytes(tidy(behaviour))
    except (TypeError, AttributeError) as exc:
        raise ContentError("A part of it does not have the shape that it has in a workflow.") from exc
    except RecursionError as exc:
        raise ContentError("It is nested too deeply.") from exc
    digest = hashlib.sha256(data).hexdigest()
    return Fingerprint(NORMALIZATION_VERSION, digest, tuple(refs), tuple(names), tuple(ids), tuple(kinds))


def content_hash(content: Mapping[str, Any], key_by_workflow_id: Mapping[str, str] | None = None) -> str:
    """Shorthand for `fingerprint(content).content_hash(…)`."""
    return fingerprint(content).content_hash(key_by_workflow_id)


def normalize(
    content: Mapping[str, Any],
    key_by_workflow_id: Mapping[str, str] | None = None,
    *,
    called: Callable[[str, str, str], str] = lambda _kind, name, _id: name,
) -> dict[str, Any]:
    """Return behaviour only, as plain data: `name`, `nodes` (by name), `connections`, `settings`.

    References to workflows are `{"$workflow": n}` in the order in which they occur; with a mapping, `key:<key>` or
    `missing:<id>` instead. Credentials are `{type: name}`, or what `called(type, name, id)` makes of them.
    """
    count = 0

    def workflow_ref(ref: str) -> Any:
        nonlocal count
        ref = storable(ref)
        if key_by_workflow_id is not None:
            return f"key:{key_by_workflow_id[ref]}" if ref in key_by_workflow_id else f"missing:{ref}"
        count += 1
        return {"$workflow": count - 1}

    found: dict[str, Any] = tidy(view(content, workflow_ref, called))
    return found
