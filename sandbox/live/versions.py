"""The versions of n8n that are known to install, and how each is installed.

A version that is not in the table is tried with the recipe of the nearest one that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .errors import LiveN8nError

_SHAPE = re.compile(r"\d+\.\d+\.\d+(-[\w.]+)?")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version is installed. `node_majors`: the oldest and newest Node that it runs on."""

    version: str
    node_majors: tuple[int, int]
    #: Fetched from npm where the machine's own Node does not fit.
    fallback_node: int
    overrides: Mapping[str, str] = field(default_factory=dict)
    legacy_peer_deps: bool = False
    tried: bool = True

    def suits(self, node_major: int) -> bool:
        return self.node_majors[0] <= node_major <= self.node_majors[1]


# n8n names a file outside any registry for xlsx, and in older versions a langgraph that has moved past what it loads.
_XLSX = {"xlsx": "0.18.5"}
_LANGGRAPH = {"@langchain/langgraph-checkpoint": "1.0.0"}

KNOWN: Mapping[str, Recipe] = {
    recipe.version: recipe
    for recipe in (
        Recipe("1.123.0", (20, 22), fallback_node=22, overrides={**_XLSX, **_LANGGRAPH}),
        Recipe("2.0.3", (20, 22), fallback_node=22, overrides={**_XLSX, **_LANGGRAPH}),
        Recipe("2.41.1", (24, 24), fallback_node=24, overrides=_XLSX, legacy_peer_deps=True),
    )
}
OLDEST, NEWEST = "1.123.0", "2.41.1"
DEFAULT_VERSION = NEWEST


def numbers(version: str) -> tuple[int, ...]:
    """For comparing: (2, 41, 1). Raises LiveN8nError for what is no version."""
    if not _SHAPE.fullmatch(version):
        raise LiveN8nError(f"'{version}' is no version of n8n. Write it in full, as in --version {DEFAULT_VERSION}.")
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def recipe_of(version: str) -> Recipe:
    """The recipe of a version; of an unknown one, that of the nearest known. Raises LiveN8nError for no version."""
    if version in KNOWN:
        return KNOWN[version]
    wanted = _order(version)
    nearest = min(KNOWN, key=lambda known: abs(_order(known) - wanted))
    return replace(KNOWN[nearest], version=version, tried=False)


def _order(version: str) -> int:
    major, minor, _patch = numbers(version)
    return major * 1000 + minor
