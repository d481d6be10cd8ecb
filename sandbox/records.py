"""What is remembered of a workflow, in JSON fragments that are ready to be joined; ids and times as n8n's are."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

_ALPHABET = string.ascii_letters + string.digits
MAX_VERSIONS = 20
MAX_CALLS = 20_000
# Started by hand, or by another workflow: none of these keeps a workflow active.
_NOT_STARTING = {"manualTrigger", "executeWorkflowTrigger", "errorTrigger", "evaluationTrigger"}
_STARTING = {"webhook", "cron", "interval", "emailReadImap"}


def new_id() -> str:
    """Sixteen letters and digits, as n8n's own ids."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def etag(body: bytes) -> str:
    return f'W/"{len(body):x}-{base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest())[:27].decode()}"'


def starts(node: Mapping[str, Any]) -> bool:
    """Whether this node can start a workflow on its own."""
    kind = str(node.get("type", "")).rpartition(".")[2]
    if node.get("disabled") or kind in _NOT_STARTING:
        return False
    return kind in _STARTING or kind.endswith("Trigger")


@dataclass(slots=True)
class Version:
    """What was once saved: the part of a workflow that runs."""

    id: str
    nodes: bytes
    connections: bytes
    at: str
    node_groups: bytes = b"[]"
    #: Empty: the owner of the instance.
    author: str = ""
    name: str | None = None
    description: str | None = None
    autosaved: bool = False


@dataclass(slots=True)
class Workflow:
    """One workflow. `nodes`, `connections`, `static_data`, `pin_data`, `meta` are JSON text; tags are ids.

    `live` is what n8n says is published, `running` what its triggers run: the second follows the first. Where `deaf`,
    the triggers fail to register, and n8n says nothing.
    """

    id: str
    name: str
    nodes: bytes
    connections: bytes
    settings: dict[str, Any]
    created: str
    updated: str
    version: str
    static_data: bytes = b"null"
    pin_data: bytes = b"null"
    meta: bytes = b"null"
    description: str | None = None
    node_groups: bytes = b"[]"
    live: Version | None = None
    running: Version | None = None
    deaf: bool = False
    archived: bool = False
    counter: int = 1
    trigger_count: int = 0
    tags: list[str] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    shared_at: str = ""
    #: The id of the folder it lies in; empty: at the top.
    folder: str = ""

    @property
    def active(self) -> bool:
        return self.live is not None

    def node_list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self.nodes)
        return found

    def version_called(self, version_id: str | None) -> Version | None:
        return next((version for version in reversed(self.versions) if version.id == version_id), None)

    def remember(self, *, author: str = "", autosaved: bool = False) -> Version:
        """Keep what the workflow holds now as a version, the newest last; a version that is there stays as it is."""
        known = self.version_called(self.version)
        if known and (known.nodes, known.connections) == (self.nodes, self.connections):
            return known
        version = Version(
            self.version, self.nodes, self.connections, self.updated, self.node_groups, author, autosaved=autosaved
        )
        self.versions = [*self.versions[-(MAX_VERSIONS - 1) :], version]
        return version


@dataclass(slots=True)
class Call:
    """One call that reached the instance, for tests that ask what was sent."""

    method: str
    path: str
    status: int
    fault: str | None = None


@dataclass(slots=True)
class Owner:
    email: str = "owner@example.com"
    first_name: str = "Olive"
    last_name: str = "Owner"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    project_id: str = field(default_factory=new_id)
