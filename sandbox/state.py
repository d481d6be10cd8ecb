"""One instance and what can be done to it; all instances of a process."""

from __future__ import annotations

import bisect
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .faults import Fault
from .records import Call, Owner, Version, Workflow, new_id, now, starts
from .schema import DEFAULT_PROFILE, PROFILES, Profile

KNOWN_PACKAGES = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
SETTING_DEFAULTS: Mapping[str, Any] = {"callerPolicy": "workflowsFromSameOwner", "availableInMCP": False}


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

    def go_live(self, workflow: Workflow) -> None:
        """Make a workflow live whatever is in it, as nobody can through the API."""
        self._go_live(workflow, Version(workflow.version, workflow.nodes, workflow.connections, now()))

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
