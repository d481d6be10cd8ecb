"""What node parameters default to, read off the catalogues of node types that n8n's packages bring along."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import LiveN8nError
from .installs import install_folder, installed

PACKAGES = ("n8n-nodes-base", "@n8n/n8n-nodes-langchain")
_NONE = "none"


def node_defaults(versions: Iterable[str]) -> str:
    """A JSON object of default values by node type and parameter, a line for each type.

    A parameter is in it where every definition of it (a type may have several, shown at different times) in every one
    of ``versions`` has the same default. Raises LiveN8nError where one of them is not installed.
    """
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for version in versions:
        folder = install_folder(version)
        if not installed(folder):
            raise LiveN8nError(f"n8n {version} is not installed. Run `script/n8n install --version {version}`.")
        for kind, parameter in _parameters(folder):
            default = json.dumps(parameter["default"], sort_keys=True) if "default" in parameter else _NONE
            found[kind][parameter["name"]].add(default)
    lines = [f"{json.dumps(kind)}: {_same_everywhere(found[kind])}" for kind in sorted(found)]
    return "{\n" + ",\n".join(line for line in lines if not line.endswith("{}")) + "\n}\n"


def _parameters(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for package in PACKAGES:
        catalogue = folder / "node_modules" / package / "dist" / "types" / "nodes.json"
        for described in json.loads(catalogue.read_bytes()):
            # The file holds names without the package, or with it, by version.
            kind = f"{package}.{described['name'].removeprefix(f'{package}.')}"
            yield from ((kind, parameter) for parameter in described.get("properties", ()))


def _same_everywhere(defaults: Mapping[str, set[str]]) -> str:
    single = {name: next(iter(each)) for name, each in sorted(defaults.items()) if len(each) == 1}
    return "{" + ", ".join(f"{json.dumps(name)}: {each}" for name, each in single.items() if each != _NONE) + "}"
