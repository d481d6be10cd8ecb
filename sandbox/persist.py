"""Keeping the sandbox's content over a restart: one JSON file, written whole and swapped in."""

from __future__ import annotations

import base64
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson

from .faults import Fault
from .profiles import PROFILES
from .records import Owner, Version, Workflow
from .state import Instance, World

FILE = "sandbox-state.json"
FORMAT = 1


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _back(value: Any) -> Any:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) and set(value) == {"b64"} else value


def save(world: World, folder: Path) -> Path:
    """Write everything but the record of calls; returns the file."""
    instances = []
    for instance in world.instances.values():
        instances.append(
            {
                "name": instance.name,
                "profile": instance.profile.name,
                "api_keys": instance.api_keys,
                "owner": asdict(instance.owner),
                "packages": instance.packages,
                "created": instance.created,
                "workflows": [asdict(workflow) for workflow in instance.workflows.values()],
                "tags": instance.tags,
                "credentials": instance.credentials,
                "executions": instance.executions,
                "webhooks": [[*key, *value] for key, value in instance.webhooks.items()],
                "faults": [{**fault.source, "id": fault.id} for fault in instance.faults.values()],
                "next_execution": instance.next_execution,
                "next_fault": instance.next_fault,
                "scopes": instance.scopes,
                "publication_calls": instance.publication_calls,
                "pending": instance.pending,
                "data_tables": instance.data_tables,
                "folders": instance.folders,
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    target, draft = folder / FILE, folder / f"{FILE}.new"
    draft.write_bytes(orjson.dumps({"format": FORMAT, "instances": instances}, default=_text))
    draft.replace(target)
    return target


def _version(raw: dict[str, Any]) -> Version:
    return Version(**{key: _back(value) for key, value in raw.items()})


def _workflow(raw: dict[str, Any]) -> Workflow:
    values = {key: _back(value) for key, value in raw.items() if key in {field.name for field in fields(Workflow)}}
    for name in ("live", "running"):
        values[name] = _version(raw[name]) if raw.get(name) else None
    values["versions"] = [_version(version) for version in raw["versions"]]
    return Workflow(**values)


def load(world: World, folder: Path) -> bool:
    """Read what was saved into `world`; False if there is nothing. Raises ValueError for a file that is not ours."""
    path = folder / FILE
    if not path.exists():
        return False
    document = orjson.loads(path.read_bytes())
    if document.get("format") != FORMAT:
        raise ValueError(f"{path} was written by another version of the sandbox; move it away to start empty.")
    for raw in document["instances"]:
        workflows = {item["id"]: _workflow(item) for item in raw["workflows"]}
        world.instances[raw["name"]] = Instance(
            name=raw["name"],
            profile=PROFILES[raw["profile"]],
            api_keys=raw["api_keys"],
            owner=Owner(**raw["owner"]),
            packages=raw["packages"],
            created=raw["created"],
            workflows=workflows,
            order=sorted(workflows),
            tags=raw["tags"],
            credentials=raw["credentials"],
            executions=raw["executions"],
            webhooks={(method, path): (owner, node) for method, path, owner, node in raw["webhooks"]},
            faults={item["id"]: Fault.parse(item, fault_id=item["id"]) for item in raw["faults"]},
            next_execution=raw["next_execution"],
            next_fault=raw["next_fault"],
            **{
                name: raw[name]
                for name in ("scopes", "publication_calls", "pending", "data_tables", "folders")
                if name in raw
            },
        )
    return True
