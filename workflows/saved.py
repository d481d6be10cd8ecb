"""What n8n's editor does to parameters when a workflow is opened and saved without a change. Pure.

On opening it fills in what a node type has as defaults, on saving it leaves out what equals a default or is not shown;
a run sees a default that was left out as if it stood there. n8n hands its catalogue of node types to people who have
signed in, never to an API key, so the defaults are read off its packages (`script/n8n defaults`): those that are the
same wherever a node type defines the parameter, in the oldest and the newest n8n that is supported. Whatever else
vanishes is a difference: of a node type that is not n8n's own, or of a default that depends on the rest, a value that
is lost and a default that is left out look alike from here.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_NODE_DEFAULTS = Path(__file__).with_name("node_defaults.json")

#: Names that are a collection with the default ``{}`` in every node type that has them.
COLLECTIONS = frozenset(
    {
        "additionalFields",
        "additionalOptions",
        "approvalOptions",
        "fieldsUi",
        "filters",
        "formFields",
        "options",
        "otherOptions",
        "requestOptions",
        "updateFields",
    }
)
#: The one node type in which such a name has another default as well.
_OTHERWISE = frozenset({"n8n-nodes-base.odoo"})
_HTTP_REQUEST = "n8n-nodes-base.httpRequest"
#: Of its ways to sign in only one is shown, and sent: the settings of the others are leftovers.
_SHOWN_WITH = (("nodeCredentialType", "predefinedCredentialType"), ("genericAuthType", "genericCredentialType"))
_CONDITIONAL = frozenset({"n8n-nodes-base.if", "n8n-nodes-base.filter", "n8n-nodes-base.switch"})
_DEEPEST_FILTER = 4
_FILTER_KEYS = frozenset({"combinator", "conditions", "options"})


def as_saved(kind: str, type_version: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters without what the editor adds and drops by itself; the same object where that is nothing."""
    dropped = _defaults_in(kind, parameters)
    if kind == _HTTP_REQUEST and _number(type_version) >= 3:
        dropped += _hidden_ways_to_sign_in(parameters)
    if kind in _CONDITIONAL:
        parameters = _with_replaced(parameters, _filters)
    if not dropped:
        return parameters
    return {name: value for name, value in parameters.items() if name not in dropped}


def _defaults_in(kind: str, parameters: Mapping[str, Any]) -> list[str]:
    """The parameters that hold nothing but their default."""
    dropped = [name for name in parameters if name in COLLECTIONS and parameters[name] == {}]
    if dropped and kind in _OTHERWISE:
        dropped = []
    defaults = node_defaults().get(kind)
    if defaults is not None:
        dropped += [name for name, value in parameters.items() if name in defaults and _same(value, defaults[name])]
    return dropped


def _hidden_ways_to_sign_in(parameters: Mapping[str, Any]) -> list[str]:
    used = parameters.get("authentication")
    return [name for name, way in _SHOWN_WITH if name in parameters and used != way]


def _with_replaced(held: Mapping[str, Any], replace: Callable[[Any], Any]) -> Mapping[str, Any]:
    """A mapping with its values replaced; the same object where none changes."""
    changed = {name: made for name, value in held.items() if (made := replace(value)) is not value}
    return {**held, **changed} if changed else held


@cache
def node_defaults() -> Mapping[str, Mapping[str, Any]]:
    """By node type and parameter, what an absent one means."""
    found: dict[str, dict[str, Any]] = json.loads(_NODE_DEFAULTS.read_bytes())
    return found


def _same(value: Any, default: Any) -> bool:
    # In Python True equals 1.
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _filters(value: Any, depth: int = 0) -> Any:
    """Conditions of If, Filter and Switch without the version that an absent one means."""
    if depth > _DEEPEST_FILTER or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        found = [_filters(each, depth + 1) for each in value]
        return value if all(map(operator.is_, found, value)) else found
    if _is_filter_of_version_1(value):
        return {**value, "options": {name: each for name, each in value["options"].items() if name != "version"}}
    return _with_replaced(value, lambda each: _filters(each, depth + 1))


def _is_filter_of_version_1(value: Mapping[str, Any]) -> bool:
    options = value.get("options")
    return value.keys() >= _FILTER_KEYS and isinstance(options, dict) and options.get("version") == 1


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 1.0
