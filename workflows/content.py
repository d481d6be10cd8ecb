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
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from core.errors import OpsError

from .names import storable, suggest_key
from .normalization import NORMALIZATION_VERSION, STICKY, tidy, view
from .references import address_by_place

__all__ = [
    "NORMALIZATION_VERSION",
    "PARSE_LIMIT",
    "ContentError",
    "Fingerprint",
    "LiveVersion",
    "content_hash",
    "draft_of",
    "dump",
    "fingerprint",
    "is_archived",
    "live_version",
    "loads",
    "normalize",
    "parse",
    "portable",
    "suggest_key",
    "warnings",
]

PARSE_LIMIT = 16 * 1024 * 1024
"""Bytes of one workflow that `parse` takes unless told otherwise."""

VERSION_ID_LIMIT = 64
_TOLD = 500
"""Characters of what n8n tells about a version."""

_COMPACT = orjson.OPT_SORT_KEYS
_PRETTY = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_UNTIDY = re.compile(rb'"cachedResult|[:,\[]-?\d+\.0[,}\]]')


class ContentError(OpsError):
    """A file or an answer that is no workflow."""

    code = "CONTENT_001"
    title = "Not a workflow"
    message = "This is not a workflow that can be read."
    recovery = "Export the workflow from n8n again, or restore an earlier version of the file."
    status = 422


class LiveVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The version that n8n runs, as it tells of it: ``authors`` are names; ``saved_at`` is when its content
    was saved (ISO 8601)."""

    version_id: str
    authors: str = ""
    name: str = ""
    saved_at: str = ""

    @property
    def saved(self) -> datetime | None:
        """``saved_at`` as a moment, where n8n told one that can be read."""
        try:
            return datetime.fromisoformat(self.saved_at)
        except ValueError:
            return None

    def to_json(self) -> dict[str, str]:
        """As stored; what is empty is left out."""
        found: dict[str, str] = msgspec.to_builtins(self)
        return found


def portable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of n8n's answer `raw`: the content that runs, or the draft where nothing is published.

    Values are shared with `raw`, not copied. Ids, versions, counters and `shared` (people's addresses) stay behind.
    Raises `ContentError` where it is no workflow.
    """
    if not isinstance(raw, Mapping):
        raise ContentError("A workflow is a JSON object; this is something else.")
    return _portable(raw, _running(raw) or raw)


def draft_of(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the draft as a portable workflow where it is another version than what runs, else None.

    Two versions may hold the same; whether they do is for the caller to compare. Raises `ContentError`.
    """
    return _portable(raw, raw) if _running(raw) is not None else None


def live_version(raw: Mapping[str, Any]) -> LiveVersion | None:
    """Which version runs, where this n8n has versions and one is published."""
    ident, version = raw.get("activeVersionId"), raw.get("activeVersion")
    if not isinstance(ident, str) or not ident:
        return None
    told: Mapping[str, Any] = version if isinstance(version, dict) else {}
    texts = {name: storable(told[name])[:_TOLD] for name in ("authors", "name") if isinstance(told.get(name), str)}
    at = told.get("createdAt")
    saved_at = storable(at)[:_TOLD] if isinstance(at, str) else ""
    return LiveVersion(version_id=storable(ident)[:VERSION_ID_LIMIT], saved_at=saved_at, **texts)


def is_archived(raw: Mapping[str, Any]) -> bool:
    """Whether it lies in n8n's archive."""
    return bool(raw.get("isArchived"))


def _running(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The published version, where it is another one than the draft."""
    active = raw.get("activeVersion")
    if not isinstance(active, dict) or not isinstance(active.get("nodes"), list):
        return None
    return None if raw.get("activeVersionId") == raw.get("versionId") else active


def _portable(raw: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    """`version` holds what n8n keeps by version (nodes, connections, groups), `raw` all the rest."""
    nodes, connections, settings = version.get("nodes"), version.get("connections") or {}, raw.get("settings") or {}
    if not isinstance(nodes, list):
        raise ContentError("The list of nodes is missing.")
    for number, node in enumerate(nodes):
        if not isinstance(node, dict):
            raise ContentError(f"Node {number + 1} is not an object.")
        for key in ("parameters", "credentials"):
            if node.get(key) and not isinstance(node[key], dict):
                raise ContentError(f"The {key} of node {number + 1} are not an object.")
    if not isinstance(connections, dict) or not isinstance(settings, dict):
        raise ContentError("Connections and settings of a workflow are JSON objects; here they are not.")
    tags = raw.get("tags") or ()
    if not isinstance(tags, list | tuple):
        raise ContentError("The tags of the workflow are not a list.")
    name = raw.get("name")
    if name is not None and not isinstance(name, str):
        raise ContentError("The name of the workflow is not text.")
    out: dict[str, Any] = {
        "name": name or "",
        "nodes": nodes,
        "connections": connections,
        "settings": settings,
        "active": bool(raw.get("active")),
        "tags": sorted({t for t in map(_tag_name, tags) if t}),
    }
    for key in ("staticData", "pinData", "description"):
        if raw.get(key) not in (None, "", {}):
            out[key] = raw[key]
    if version.get("nodeGroups"):
        out["nodeGroups"] = version["nodeGroups"]
    if raw.get("isArchived") or raw.get("archived"):
        out["archived"] = True
    parent = raw.get("parentFolder")
    folder = raw.get("parentFolderId") or raw.get("folder") or (parent.get("id") if isinstance(parent, dict) else None)
    if isinstance(folder, str):
        out["folder"] = folder
    return out


def _tag_name(tag: Any) -> str:
    if isinstance(tag, Mapping):
        tag = tag.get("name")
    return tag if isinstance(tag, str) else ""


def _bytes(value: Any, *, pretty: bool = False) -> bytes:
    try:
        return orjson.dumps(value, option=_PRETTY if pretty else _COMPACT)
    except TypeError:
        pass  # lone surrogates, numbers beyond 64 bit, deep nesting: slower, but exact
    try:
        text = json.dumps(
            value,
            sort_keys=True,
            allow_nan=False,
            indent=2 if pretty else None,
            separators=None if pretty else (",", ":"),
        )
    except (ValueError, TypeError, RecursionError) as exc:
        raise ContentError("The workflow holds values that JSON cannot hold.") from exc
    return (text + "\n" if pretty else text).encode()


def dump(content: Mapping[str, Any]) -> bytes:
    """Return `content` for Git: UTF-8 JSON, indented by two, keys sorted, one newline at the end."""
    return _bytes(content, pretty=True)


def loads(data: bytes) -> Any:
    """Parse JSON strictly (no NaN, no Infinity), with lone surrogates kept; raises `ContentError`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise ContentError(f"Not JSON: {exc}.") from exc
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise ContentError("Not JSON, or nested too deeply.") from exc


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value


def parse(data: bytes, *, limit: int = PARSE_LIMIT) -> dict[str, Any]:
    """Return the portable workflow in `data`; strict. Raises `ContentError` with a sentence that says what is wrong."""
    if len(data) > limit:
        raise ContentError(
            f"The workflow has {len(data):,} bytes; {limit:,} are allowed.",
            details={"bytes": len(data), "limit": limit},
        )
    return portable(loads(data))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A hash of behaviour in which references are still open.

    `body` covers all but the references; `workflow_refs` are ids in the environment the workflow comes from.
    `credential_names`, `credential_ids` and `credential_types` are those of credentials and data tables there; all in
    the order of their places. An id is empty where the workflow does not hold one.
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
        return hashlib.sha256(_bytes([self.version, self.body, refs, credentials])).hexdigest()


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

    def credential_ref(kind: str, name: str, ident: str) -> int:
        kinds.append(storable(kind))
        names.append(storable(name))
        ids.append(storable(ident))
        return 0

    try:
        behaviour = view(content, workflow_ref, credential_ref)
        data = _bytes(behaviour)
        # Looking for bytes is ten times quicker than the pattern, which cannot match without one of them.
        if (b'"cachedResult' in data or b".0" in data) and _UNTIDY.search(data):
            data = _bytes(tidy(behaviour))
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

    References to workflows are `{"$workflow": n}` in the order of their places; with a mapping, `key:<key>` or
    `missing:<id>` instead. Credentials are `{type: name}`, or what `called(type, name, id)` makes of them.
    """
    count = 0

    def workflow_ref(ref: str) -> Any:
        nonlocal count
        if key_by_workflow_id is not None:
            return f"key:{key_by_workflow_id[ref]}" if ref in key_by_workflow_id else f"missing:{ref}"
        count += 1
        return {"$workflow": count - 1}

    found: dict[str, Any] = tidy(view(content, workflow_ref, called))
    return found


def warnings(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is odd about a workflow and yet kept: `[{code, message, node}]`, at most 200."""
    found: list[dict[str, str]] = []
    seen: set[str] = set()
    nodes = content.get("nodes") or ()
    for node in nodes:
        name = str(node.get("name") or "")
        if not name:
            found.append({"code": "node_without_name", "message": "A node has no name.", "node": ""})
        elif name in seen:
            found.append({"code": "duplicate_node", "message": f"Two nodes are called “{name}”.", "node": name})
        seen.add(name)
        if address_by_place(node, "") is not None:
            message = f"“{name}” has no webhook id: in an older n8n its address holds the id of the workflow."
            found.append({"code": "no_webhook_id", "message": message, "node": name})
    ids = {str(n.get("id")) for n in nodes}
    for source, kinds in (content.get("connections") or {}).items():
        if source not in seen and source in ids:
            message = f"A connection names its start by the id “{source}”; n8n goes by names and does not see it."
            found.append({"code": "connection_by_id", "message": message, "node": source})
            continue
        if source not in seen:
            message = f"A connection starts at “{source}”, which is not a node of this workflow."
            found.append({"code": "dangling_connection", "message": message, "node": source})
        for outputs in kinds.values() if isinstance(kinds, dict) else ():
            for links in outputs or ():
                for link in links or ():
                    target = link.get("node") if isinstance(link, dict) else None
                    if not isinstance(target, str) or target not in seen:
                        message = f"“{source}” leads to “{target}”, which is not a node of this workflow."
                        found.append({"code": "dangling_connection", "message": message, "node": source})
    if not any(n.get("type") != STICKY for n in nodes):
        found.append({"code": "empty", "message": "The workflow has no nodes.", "node": ""})
    return found[:200]
