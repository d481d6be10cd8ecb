"""Webhook addresses that two workflows would share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def webhook_clashes(wanted: Mapping[str, Iterable[str]], present: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """Addresses that two active workflows would listen on; n8n does not warn, and only one of them gets the calls.

    Both map keys of *active* workflows to their addresses (``POST orders/new``); ``present`` are those that stay as
    they are. Returns ``[{"address", "keys"}]``, sorted.
    """
    listeners: dict[str, set[str]] = {}
    for side in (present, wanted):
        for key, addresses in side.items():
            for address in addresses:
                methods, _, path = address.partition(" ")
                for method in methods.split("|"):
                    listeners.setdefault(f"{method} {path}", set()).add(key)
    touched = set(wanted)
    return [
        {"address": address, "keys": sorted(keys)}
        for address, keys in sorted(listeners.items())
        if len(keys) > 1 and keys & touched
    ]
