"""What an instance remembers: workflows as ready-made JSON fragments, so that a page is a join and not a dump."""

from __future__ import annotations

import base64
import bisect
import hashlib
import secrets
import string
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from .faults import Fault
from .schema import DEFAULT_PROFILE, PROFILES, Profile

_ALPHABET = string.ascii_letters + string.digits
MAX_VERSIONS = 20
MAX_CALLS = 20_000
KNOWN_PACKAGES = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
# Started by hand, or by another workflow: none of these keeps a workflow active.
_NOT_STARTING = {"manualTrigger", "executeWorkflowTrigger", "errorTrigger", "evaluationTrigger"}
_STARTING = {"webhook", "cron", "interval", "emailReadImap"}
SETTING_DEFAULTS: Mapping[str, Any] = {"callerPolicy": "workflowsFromSameOwner", "availableInMCP": False}


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


@dataclass(slots=True)
class Workflow:
    """One workflow. `nodes`, `connections`, `static_data`, `pin_data`, `meta` are JSON text; tags are ids."""

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
    live: Version | None = None
    archived: bool = False
    counter: int = 1
    trigger_count: int = 0
    tags: list[str] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    shared_at: str = ""

    @property
    def active(self) -> bool:
        return self.live is not None

    def node_list(self) -> list[dict[str, Any]]:
        return orjson.loads(self.nodes)

    def remember(self) -> Version:
        """Keep what the workflow holds now as a version, the newest last."""
        version = Version(self.version, self.nodes, self.connections, self.updated)
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


@dataclass
class Instance:
    """One n8n: its keys, its content, its faults."""

    name: str
    profile: Profile
    api_keys: list[str]
    owner: Owner = field(default_factory=Owner)
    packages: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    credentials: dict[str, dict[str, Any]] = field(default_factory=dict)
    executions: list[dict[str, Any]] = field(default_factory=list)
    webhooks: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    next_execution: int = 1
    next_fault: int = 1

    # Workflows --------------------------------------------------------------------------------------------------

    def add(
        self, raw: Mapping[str, Any], *, workflow_id: str | None = None, at: str | None = None, active: bool = False
    ) -> Workflow:
        """Store a new workflow from n8n's shape. Tags may be names or objects with a name; unknown ones are made."""
        moment = at or now()
        nodes = [node if node.get("id") else {**node, "id": str(uuid.uuid4())} for node in raw.get("nodes") or []]
        workflow = Workflow(
            id=workflow_id or new_id(),
            name=str(raw.get("name") or ""),
            nodes=orjson.dumps(nodes),
            connections=orjson.dumps(raw.get("connections") or {}),
            settings={**SETTING_DEFAULTS, **(raw.get("settings") or {})},
            static_data=orjson.dumps(raw.get("staticData")),
            pin_data=orjson.dumps(raw.get("pinData")),
            meta=orjson.dumps(raw.get("meta")),
            description=raw.get("description"),
            created=moment,
            updated=moment,
            shared_at=moment,
            version=str(uuid.uuid4()),
            tags=[self.tag_id(tag["name"] if isinstance(tag, dict) else str(tag)) for tag in raw.get("tags") or []],
        )
        if workflow.id not in self.workflows:
            bisect.insort(self.order, workflow.id)
        self.workflows[workflow.id] = workflow
        workflow.remember()
        if active:
            self.activate(workflow)
        return workflow

    def remove(self, workflow: Workflow) -> None:
        self.deactivate(workflow)
        del self.workflows[workflow.id]
        self.order.remove(workflow.id)
        self.executions = [run for run in self.executions if run["workflowId"] != workflow.id]

    def change(self, workflow: Workflow, fields: Mapping[str, Any], *, publish: bool) -> str | None:
        """Write new content, merging settings; n8n's complaint if an active workflow could not be kept active, or None.

        As n8n does it: content is written first, and where activation then fails the workflow stays behind inactive,
        with the new content under the OLD version id.
        """
        before = workflow.version
        nodes, connections = workflow.nodes, workflow.connections
        if "nodes" in fields:
            listed = [node if node.get("id") else {**node, "id": str(uuid.uuid4())} for node in fields["nodes"]]
            workflow.nodes = orjson.dumps(listed)
        if "connections" in fields:
            workflow.connections = orjson.dumps(fields["connections"])
        for key, attribute in (("staticData", "static_data"), ("pinData", "pin_data"), ("meta", "meta")):
            if key in fields:
                setattr(workflow, attribute, orjson.dumps(fields[key]))
        if "name" in fields:
            workflow.name = fields["name"]
        if "description" in fields:
            workflow.description = fields["description"]
        if "settings" in fields:
            settings = {**workflow.settings, **fields["settings"]}
            workflow.settings = {
                key: value
                for key, value in settings.items()
                if (key, value) not in (("timezone", "DEFAULT"), ("executionTimeout", -1))
            }
        same = nodes == workflow.nodes and connections == workflow.connections
        workflow.updated = now()
        workflow.counter += 1
        if not (same and self.profile.settings_edit_keeps_version):
            workflow.version = str(uuid.uuid4())
        version = workflow.remember()
        if workflow.live is None or not publish:
            return None
        complaint = self.cannot_start(workflow)
        if complaint is None:
            self._go_live(workflow, version)
            return None
        self.deactivate(workflow)
        workflow.version = before
        return complaint

    # Activation -------------------------------------------------------------------------------------------------

    def cannot_start(self, workflow: Workflow) -> str | None:
        """n8n's complaint about activating this workflow, or None."""
        nodes = workflow.node_list()
        known = (*KNOWN_PACKAGES, *(f"{package}." for package in self.packages))
        for node in nodes:
            if not str(node.get("type", "")).startswith(known):
                return f"Unrecognized node type: {node.get('type')}"
        if not any(starts(node) for node in nodes):
            return (
                f'Workflow "{workflow.name}" (ID: {workflow.id}) has no node to start the workflow'
                " - at least one trigger, poller or webhook node is required"
            )
        return None

    def activate(self, workflow: Workflow, version_id: str | None = None) -> str | None:
        """Make a workflow live; n8n's complaint, or None."""
        if complaint := self.cannot_start(workflow):
            return complaint
        chosen = next((version for version in reversed(workflow.versions) if version.id == version_id), None)
        self._go_live(workflow, chosen or Version(workflow.version, workflow.nodes, workflow.connections, now()))
        return None

    def _go_live(self, workflow: Workflow, version: Version) -> None:
        self._unhook(workflow)
        workflow.live = version
        workflow.counter += 1
        workflow.trigger_count = 0
        for node in orjson.loads(version.nodes):
            if not starts(node):
                continue
            workflow.trigger_count += 1
            parameters = node.get("parameters") or {}
            if str(node.get("type", "")).endswith(".webhook"):
                path = str(parameters.get("path") or node.get("webhookId") or "").strip("/")
                # The last to activate answers; the other stays active and is deaf.
                self.webhooks[str(parameters.get("httpMethod", "GET")), path] = (workflow.id, node.get("name", ""))

    def deactivate(self, workflow: Workflow) -> None:
        if workflow.live is not None:
            workflow.counter += 1
        workflow.live = None
        self._unhook(workflow)

    def _unhook(self, workflow: Workflow) -> None:
        for key in [key for key, (owner, _) in self.webhooks.items() if owner == workflow.id]:
            del self.webhooks[key]

    # Tags, executions -------------------------------------------------------------------------------------------

    def tag_id(self, name: str) -> str:
        """The id of the tag with this name, made if there is none."""
        for tag in self.tags.values():
            if tag["name"] == name:
                return str(tag["id"])
        moment = now()
        tag = {"updatedAt": moment, "createdAt": moment, "id": new_id(), "name": name}
        self.tags[tag["id"]] = tag
        return tag["id"]

    def run(
        self,
        workflow_id: str,
        *,
        status: str,
        mode: str = "trigger",
        started: str | None = None,
        stopped: str | None = None,
    ) -> dict[str, Any]:
        """Record an execution, newest last."""
        moment = started or now()
        record = {
            "id": str(self.next_execution),
            "finished": status == "success",
            "mode": mode,
            "retryOf": None,
            "retrySuccessId": None,
            "status": status,
            "createdAt": moment,
            "startedAt": moment,
            "stoppedAt": None if status in ("running", "waiting") else (stopped or moment),
            "deletedAt": None,
            "workflowId": workflow_id,
            "waitTill": None,
        }
        self.next_execution += 1
        self.executions.append(record)
        return record

    def missing_references(self, workflow: Workflow) -> list[str]:
        """Credentials and called workflows that this instance does not have: such a workflow breaks at run time."""
        missing = []
        for node in orjson.loads(workflow.live.nodes if workflow.live else workflow.nodes):
            for reference in (node.get("credentials") or {}).values():
                if isinstance(reference, dict) and reference.get("id") not in self.credentials:
                    missing.append(f"credential {reference.get('id')}")
            called = (node.get("parameters") or {}).get("workflowId")
            called = called.get("value") if isinstance(called, dict) else called
            if str(node.get("type", "")).endswith(".executeWorkflow") and called and called not in self.workflows:
                missing.append(f"workflow {called}")
        return missing

    # Rendering --------------------------------------------------------------------------------------------------

    def tag_objects(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        return [self.tags[tag_id] for tag_id in ids if tag_id in self.tags]

    def render(
        self,
        workflow: Workflow,
        *,
        listed: bool = False,
        pin: bool = True,
        shared: bool = True,
        tags: bool = True,
        live: bool = True,
    ) -> bytes:
        """The JSON of a workflow as one of n8n's answers holds it; `listed` is the shorter form of the list."""
        join: list[bytes] = [
            orjson.dumps(
                {"updatedAt": workflow.updated, "createdAt": workflow.created, "id": workflow.id, "name": workflow.name}
            )[:-1]
        ]
        put = join.append
        if not listed:
            put(b',"description":' + orjson.dumps(workflow.description))
        put(b',"active":true' if workflow.live else b',"active":false')
        put(b',"isArchived":true' if workflow.archived else b',"isArchived":false')
        put(b',"nodes":')
        put(workflow.nodes)
        put(b',"connections":')
        put(workflow.connections)
        put(b',"settings":' + orjson.dumps(workflow.settings))
        put(b',"staticData":')
        put(workflow.static_data)
        put(b',"meta":')
        put(workflow.meta)
        if pin:
            put(b',"pinData":')
            put(workflow.pin_data)
        live_id = f'"{workflow.live.id}"' if workflow.live else "null"
        put(f',"versionId":"{workflow.version}","activeVersionId":{live_id}'.encode())
        if not listed:
            put(f',"versionCounter":{workflow.counter}'.encode())
        put(f',"triggerCount":{workflow.trigger_count}'.encode())
        if shared:
            put(b',"shared":[' + self._shared(workflow, people=not listed) + b"]")
        if tags:
            put(b',"tags":' + orjson.dumps(self.tag_objects(workflow.tags)))
        if live:
            put(b',"activeVersion":')
            if workflow.live:
                join.extend(self._version(workflow, workflow.live))
            else:
                put(b"null")
        put(b"}")
        return b"".join(join)

    def _version(self, workflow: Workflow, version: Version) -> list[bytes]:
        head = {
            "updatedAt": version.at,
            "createdAt": version.at,
            "versionId": version.id,
            "workflowId": workflow.id,
        }
        author = f"{self.owner.first_name} {self.owner.last_name}"
        tail = {"authors": author, "name": None, "description": None}
        return [
            orjson.dumps(head)[:-1],
            b',"nodes":',
            version.nodes,
            b',"connections":',
            version.connections,
            b"," + orjson.dumps(tail)[1:],
        ]

    def render_version(self, workflow: Workflow, version: Version) -> bytes:
        return b"".join(self._version(workflow, version))

    def _shared(self, workflow: Workflow, *, people: bool) -> bytes:
        moment = workflow.shared_at or workflow.created
        entry: dict[str, Any] = {
            "updatedAt": moment,
            "createdAt": moment,
            "role": "workflow:owner",
            "workflowId": workflow.id,
            "projectId": self.owner.project_id,
        }
        if people:
            entry["project"] = self._project()
        return orjson.dumps(entry)

    def _project(self) -> dict[str, Any]:
        owner = self.owner
        dates = {"updatedAt": self.created, "createdAt": self.created}
        user = {
            **dates,
            "id": owner.id,
            "email": owner.email,
            "firstName": owner.first_name,
            "lastName": owner.last_name,
            "personalizationAnswers": None,
            "settings": {"userActivated": False},
            "disabled": False,
            "mfaEnabled": False,
            "lastActiveAt": self.created[:10],
            "isPending": False,
        }
        relation = {**dates, "userId": owner.id, "projectId": owner.project_id, "user": user}
        return {
            **dates,
            "id": owner.project_id,
            "name": f"{owner.first_name} {owner.last_name} <{owner.email}>",
            "type": "personal",
            "icon": None,
            "description": None,
            "projectRelations": [relation],
        }


class World:
    """All instances of this process."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}

    def create(
        self,
        name: str,
        *,
        api_key: str | None = None,
        profile: str = DEFAULT_PROFILE,
        owner: Mapping[str, str] | None = None,
        packages: Iterable[str] = (),
    ) -> Instance:
        """Raises KeyError for an unknown profile."""
        instance = Instance(
            name=name,
            profile=PROFILES[profile],
            api_keys=[api_key or f"sandbox_{secrets.token_urlsafe(24)}"],
            owner=Owner(**(owner or {})),
            packages=list(packages),
        )
        self.instances[name] = instance
        return instance
