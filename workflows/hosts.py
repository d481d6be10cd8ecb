"""Which hosts a workflow names in its addresses, so that people can ask who uses one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HOSTS_AT_MOST = 100
_IN_ADDRESS = re.compile(
    r"\b(?:https?|wss?)://(?:[^\s/@\"'{}]*@)?([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?![\w-]|\.?\{)", re.I
)


def hosts_of(*contents: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The hosts of all addresses in the nodes of some contents, by name; at most 100.

    What is put together when the workflow runs is not known, nor is what a credential holds.
    """
    found = {host.lower() for content in contents if content for host in _hosts(content.get("nodes"))}
    return tuple(sorted(found)[:HOSTS_AT_MOST])


def _hosts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "://" in value:
            yield from _IN_ADDRESS.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _hosts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _hosts(inner)
