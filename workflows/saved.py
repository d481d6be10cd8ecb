"""What n8n's editor does to parameters when a workflow is opened and saved without a change. Pure.

On opening it fills in what a node type has as defaults, on saving it leaves out what equals a default or is not shown.
Which that is only the catalogue of node types tells, and n8n hands that to people who have signed in, never to an API
key. So only what holds for every node type is taken as meaning nothing, checked against the catalogues of 1.123.0,
2.0.3 and 2.41.1 and with n8n's own functions over 400 real workflows. Whatever else vanishes is a difference: a value
that is lost and a default that is left out look alike from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
_FILTER_KEYS = frozenset({"combinator", "conditions", "options"})


def as_saved(kind: str, type_version: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters without what the editor adds and drops by itself; the same object where that is nothing."""
    dropped = [name for name in parameters if name in COLLECTIONS and parameters[name] == {}]
    if dropped and kind in _OTHERWISE:
        dropped = []
    if kind in _CONDITIONAL:
        changed = {name: found for name, value in parameters.items() if (found := _filters(value, 0)) is not value}
        parameters = {**parameters, **changed} if changed else parameters
    elif kind == _HTTP_REQUEST and _number(type_version) >= 3:
        used = parameters.get("authentication")
        dropped += [name for name, way in _SHOWN_WITH if name in parameters and used != way]
    if not dropped:
        return parameters
    kept = dict(parameters)
    for name in dropped:
        del kept[name]
    return kept


def _filters(value: Any, depth: int) -> Any:
    """Conditions of If, Filter and Switch without the version that an absent one means."""
    if depth > 4 or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        found = [_filters(each, depth + 1) for each in value]
        return value if all(a is b for a, b in zip(found, value, strict=True)) else found
    options = value.get("options")
    if value.keys() >= _FILTER_KEYS and isinstance(options, dict) and options.get("version") == 1:
        return {**value, "options": {name: each for name, each in options.items() if name != "version"}}
    changed = {name: made for name, each in value.items() if (made := _filters(each, depth + 1)) is not each}
    return {**value, **changed} if changed else value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 1.0
