"""Bodies of writes: a workflow's content in the keys that an instance accepts, and what had to be omitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.normalization import SETTING_DEFAULTS

from .spec import Capabilities

_WRITTEN = ("name", "nodes", "connections", "settings", "staticData", "pinData", "description")

Omission = dict[str, str]
"""A part of the content that could not be written: its ``path``, and the ``reason`` in a sentence."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """n8n's answer to a write, and what could not be written."""

    workflow: dict[str, Any]
    omitted: list[Omission] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.workflow.get("id") or "")


def write_body(
    content: Mapping[str, Any], *, keys: frozenset[str], present: Mapping[str, Any] | None, spec: Capabilities
) -> tuple[dict[str, Any], list[Omission]]:
    """The body for a POST or PUT with ``keys`` allowed. ``present`` are the settings there now; None: a new workflow.

    n8n merges settings, so those of ``present`` that ``content`` lacks are sent with their defaults.
    """
    omitted: list[Omission] = []
    body = {key: content[key] for key in _WRITTEN if key in keys and key in content}
    for key in _WRITTEN:
        if key not in keys and content.get(key):
            omitted.append({"path": key, "reason": "This version of n8n does not take it."})
    body.setdefault("name", "")
    body.setdefault("connections", {})
    body["nodes"] = _nodes(content.get("nodes") or [], spec.node_keys, omitted)
    body["settings"] = _settings(content.get("settings") or {}, present or {}, spec, omitted)
    return body, omitted


def _nodes(
    nodes: Sequence[Mapping[str, Any]], allowed: frozenset[str] | None, omitted: list[Omission]
) -> list[Mapping[str, Any]]:
    if allowed is None or all(allowed.issuperset(n) for n in nodes):
        return list(nodes)
    kept: list[Mapping[str, Any]] = []
    for number, node in enumerate(nodes):
        kept.append({k: v for k, v in node.items() if k in allowed})
        reason = f"This version of n8n does not take it on a node (“{node.get('name')}”)."
        omitted += [{"path": f"nodes[{number}].{k}", "reason": reason} for k in node if k not in allowed]
    return kept


def _settings(
    wanted: Mapping[str, Any], present: Mapping[str, Any], spec: Capabilities, omitted: list[Omission]
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in wanted.items():
        _add_wanted(settings, key, value, spec, omitted)
    for key, value in present.items():
        if key not in wanted:
            _add_default(settings, key, value, spec, omitted)
    return settings


def _add_wanted(settings: dict[str, Any], key: str, value: Any, spec: Capabilities, omitted: list[Omission]) -> None:
    schema = spec.settings.get(key)
    path = f"settings.{key}"
    if schema is None:
        if value != SETTING_DEFAULTS.get(key, ""):
            omitted.append({"path": path, "reason": "This version of n8n does not take this setting."})
    elif value is not None and ("enum" not in schema or value in schema["enum"]):
        settings[key] = value
    elif key in SETTING_DEFAULTS:
        # The editor writes DEFAULT where the API asks for the value that it stands for.
        settings[key] = SETTING_DEFAULTS[key]
    else:
        omitted.append({"path": path, "reason": "n8n does not accept this value."})


def _add_default(settings: dict[str, Any], key: str, present: Any, spec: Capabilities, omitted: list[Omission]) -> None:
    """A setting that is there now and not wanted goes back to its default."""
    schema = spec.settings.get(key)
    default = SETTING_DEFAULTS.get(key, (schema or {}).get("default"))
    if schema is not None and default is not None:
        if present != default:
            settings[key] = default
    elif present is not None:
        omitted.append({"path": f"settings.{key}", "reason": "n8n keeps the value that is there now."})
