"""One instance and what can be done to it; all instances of a process."""

from __future__ import annotations

import bisect
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .faults import Fault
from .profiles import DEFAULT_PROFILE, PROFILES, Profile
from .records import Call, Owner, Version, Workflow, new_id, now, starts
from .rules import (
    bad_groups,
    bad_name,
    bad_structure,
    called_directly,
    cannot_publish,
    has_webhook,
    registers,
    webhooks_of,
)
from .shapes import IGNORED_SETTINGS

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
    data_tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Ids of folders; an instance that has any has a licence for them.
    folders: list[str] = field(default_factory=list)
    #: key -> what it may do; a key that is not named may do everything.
    scopes: dict[str, list[str]] = field(default_factory=dict)
    #: How many calls still see the former state after a publication; None: all, until `settle`.
    publication_calls: int | None = 1
    #: workflow -> how many calls are left until its triggers follow what is published; None: until `settle`.
    pending: dict[str, int | None] = field(default_factory=dict)

    # Workflows --------------------------------------------------------------------------------------------------

    def add(
        self, raw: Mapping[str, Any], *, workflow_id: str | None = None, at: str | None = None, active: bool = False
    ) -> Workflow:
        """Store a new workflow from n8n's shape. Tags may be names or objects with a name; unknown ones are made."""
        moment = at or now()
        workflow = Workflow(
            id=workflow_id or new_id(),
            name=str(raw.get("name") or ""),
            nodes=orjson.dumps(self._with_ids(raw.get("nodes") or [])),
            connections=orjson.dumps(raw.get("connections") or {}),
            node_groups=orjson.dumps(raw.get("nodeGroups") or []),
            settings=self._settings({} if self.profile.strict else SETTING_DEFAULTS, raw.get("settings") or {}),
            static_data=orjson.dumps(raw.get("staticData")),
            pin_data=orjson.dumps(raw.get("pinData")),
            meta=orjson.dumps(raw.get("meta")),
            description=raw.get("description"),
            folder=raw.get("parentFolderId") or "",
            created=moment,
            updated=moment,
            shared_at=moment,
            version=str(uuid.uuid4()),
            tags=self._tag_ids(raw.get("tags") or []),
        )
        if workflow.id not in self.workflows:
            bisect.insort(self.order, workflow.id)
        self.workflows[workflow.id] = workflow
        workflow.remember()
        if active:
            self.activate(workflow)
            self.settle(workflow)
        return workflow

    def _tag_ids(self, tags: Iterable[Any]) -> list[str]:
        return [self.tag_id(tag["name"] if isinstance(tag, dict) else str(tag)) for tag in tags]

    def _settings(self, before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        ignored = IGNORED_SETTINGS if self.profile.strict else ()
        removed = (("timezone", "DEFAULT"), ("executionTimeout", -1))
        given = {key: value for key, value in given.items() if key not in ignored}
        return {key: value for key, value in {**before, **given}.items() if (key, value) not in removed}

    def refuses(self, workflow: Workflow | None, fields: Mapping[str, Any]) -> str | None:
        """n8n's complaint about content that it does not store, or None. ``workflow``: what is there already."""
        if self.profile.strict and (complaint := bad_name(fields["name"], new=workflow is None)):
            return complaint
        nodes = self._with_ids(fields["nodes"])
        if self.profile.checks_structure and (complaint := bad_structure(nodes, fields["connections"])):
            return complaint
        if not self.profile.has_node_groups:
            return None
        kept = orjson.loads(workflow.node_groups) if workflow else []
        return bad_groups(nodes, fields.get("nodeGroups", kept), fields["connections"])

    def _with_ids(self, nodes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Nodes as n8n stores them: each with an id, and in newer versions with that of its webhook."""
        stored = [{**node, "id": node.get("id") or str(uuid.uuid4())} for node in nodes]
        for node in stored if self.profile.gives_webhook_ids else ():
            if has_webhook(node) and not node.get("webhookId"):
                node["webhookId"] = str(uuid.uuid4())
        return stored

    def remove(self, workflow: Workflow) -> None:
        self.deactivate(workflow)
        self.settle(workflow)
        del self.workflows[workflow.id]
        self.order.remove(workflow.id)
        self.executions = [run for run in self.executions if run["workflowId"] != workflow.id]

    def change(
        self,
        workflow: Workflow,
        fields: Mapping[str, Any],
        *,
        publish: bool,
        author: str = "",
        autosaved: bool = False,
    ) -> str | None:
        """Write new content, merging settings; n8n's complaint if it could not be published, or None.

        As n8n does it, content is written first. Where publishing then fails, versions without drafts switch the
        workflow off, with the new content under the OLD version id; the first with drafts run the refused content, and
        webhooks fail; the newest keep it as a draft beside what runs.
        """
        before = workflow.version
        nodes, connections, groups = workflow.nodes, workflow.connections, workflow.node_groups
        self._store(workflow, fields)
        same = (nodes, connections, groups) == (workflow.nodes, workflow.connections, workflow.node_groups)
        workflow.updated = now()
        if not (same and self.profile.has_drafts):
            workflow.counter += 1
            workflow.version = str(uuid.uuid4())
        version = workflow.remember(author=author, autosaved=autosaved)
        if workflow.live is None or not publish:
            return None
        complaint = cannot_publish(self, workflow, version)
        if complaint is None:
            self._go_live(workflow, version)
            return None
        if not self.profile.has_drafts:
            self.deactivate(workflow)
            workflow.version = before
        elif not self.profile.strict:
            workflow.live = workflow.running = version
        return complaint

    def _store(self, workflow: Workflow, fields: Mapping[str, Any]) -> None:
        if "nodes" in fields:
            workflow.nodes = orjson.dumps(self._with_ids(fields["nodes"]))
        if "connections" in fields:
            workflow.connections = orjson.dumps(fields["connections"])
        stored = {"staticData": "static_data", "pinData": "pin_data", "meta": "meta", "nodeGroups": "node_groups"}
        for key, attribute in stored.items():
            if key in fields:
                setattr(workflow, attribute, orjson.dumps(fields[key]))
        if "parentFolderId" in fields:
            workflow.folder = {"0": ""}.get(fields["parentFolderId"], fields["parentFolderId"]) or ""
        if "name" in fields:
            workflow.name = fields["name"]
        if "description" in fields:
            workflow.description = fields["description"]
        if "settings" in fields:
            workflow.settings = self._settings(workflow.settings, fields["settings"])

    # Activation -------------------------------------------------------------------------------------------------

    def activate(self, workflow: Workflow, version_id: str | None = None) -> str | None:
        """Publish a version, by default the newest content; n8n's complaint, or None."""
        chosen = workflow.version_called(version_id) or workflow.remember()
        if complaint := cannot_publish(self, workflow, chosen):
            return complaint
        self._go_live(workflow, chosen)
        return None

    def go_live(self, workflow: Workflow) -> None:
        """Make a workflow live whatever is in it, as nobody can through the API."""
        self._go_live(workflow, Version(workflow.version, workflow.nodes, workflow.connections, now()))

    def _go_live(self, workflow: Workflow, version: Version) -> None:
        workflow.live = version
        workflow.counter += 1
        self._follow(workflow)

    def deactivate(self, workflow: Workflow) -> None:
        if workflow.live is None:
            return
        workflow.counter += 1
        workflow.live = None
        self._follow(workflow)

    def archive(self, workflow: Workflow, archived: bool) -> None:
        """Archive or unarchive; an archived workflow is unpublished, and stays so."""
        if archived:
            self.deactivate(workflow)
        if archived != workflow.archived and self.profile.strict:
            workflow.version = str(uuid.uuid4())
            workflow.remember()
        workflow.archived = archived

    # What runs follows what is published ------------------------------------------------------------------------

    def _follow(self, workflow: Workflow) -> None:
        if self.profile.publishes_later and self.publication_calls != 0:
            self.pending[workflow.id] = self.publication_calls
        else:
            self.settle(workflow)

    def tick(self) -> None:
        """One call has come in: publications that are due take effect before it is answered."""
        for identity, left in list(self.pending.items()):
            if left is None:
                continue
            if left > 0:
                self.pending[identity] = left - 1
            else:
                self.settle(self.workflows[identity])

    def settle(self, workflow: Workflow) -> None:
        """Let the triggers of a workflow follow what is published, now."""
        self.pending.pop(workflow.id, None)
        self.webhooks = {address: hook for address, hook in self.webhooks.items() if hook[0] != workflow.id}
        workflow.running = None if workflow.deaf else workflow.live
        if workflow.running is None:
            return  # the count of triggers stays what it was
        nodes = orjson.loads(workflow.running.nodes)
        workflow.trigger_count = sum(starts(node) and registers(node) for node in nodes)
        for method, path, name in webhooks_of(nodes, workflow.id):
            # Before, the last to be published answers; since, the first does. The other is active and gets no calls.
            if not (self.profile.publishes_later and (method, path) in self.webhooks):
                self.webhooks[method, path] = (workflow.id, name)

    # Credentials, tags, executions ------------------------------------------------------------------------------

    def add_credential(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Remember a credential: `{name, type, id?, test?: {status, message}}`; nobody keeps its secrets."""
        moment = now()
        record: dict[str, Any] = {
            "id": raw.get("id") or new_id(),
            "name": raw["name"],
            "type": raw["type"],
            "updatedAt": moment,
            "createdAt": moment,
            "isManaged": False,
            "isGlobal": False,
        }
        if self.profile.strict:
            record |= {"isResolvable": False, "resolvableAllowFallback": False, "resolverId": None}
        self.credentials[record["id"]] = record | ({"test": raw["test"]} if raw.get("test") else {})
        return record

    def tag_id(self, name: str) -> str:
        """The id of the tag with this name, made if there is none."""
        for tag in self.tags.values():
            if tag["name"] == name:
                return str(tag["id"])
        moment = now()
        tag = {"updatedAt": moment, "createdAt": moment, "id": new_id(), "name": name}
        self.tags[tag["id"]] = tag
        found: str = tag["id"]
        return found

    def run(
        self,
        workflow_id: str,
        *,
        status: str,
        mode: str = "trigger",
        started: str | None = None,
        stopped: str | None = None,
        node: str | None = None,
    ) -> dict[str, Any]:
        """Record an execution, newest last. ``node``: the one that began it."""
        moment = started or now()
        workflow = self.workflows.get(workflow_id)
        version = workflow and (workflow.running or workflow.live)
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
            "workflowVersionId": version.id if version else None,
            "startedBy": node,
        }
        self.next_execution += 1
        self.executions.append(record)
        return record

    def missing_references(self, workflow: Workflow, nodes: bytes | None = None) -> list[str]:
        """Of what runs, or of the given nodes: what this instance lacks, so that it breaks at run time.

        Credentials that do not exist, and called workflows that do not exist or, since drafts, are not published.
        """
        version = workflow.running or workflow.live
        listed = orjson.loads(nodes or (version.nodes if version else workflow.nodes))
        credentials = [f"credential {each}" for each in _credential_ids(listed) if each not in self.credentials]
        called = (workflow_id for _, workflow_id in called_directly(listed))
        return credentials + [f"workflow {other}" for other in called if not self._can_call(workflow, other)]

    def _can_call(self, workflow: Workflow, called: str) -> bool:
        other = self.workflows.get(called)
        return other is not None and (not self.profile.has_drafts or other.active or other is workflow)

    # Rendering --------------------------------------------------------------------------------------------------

    def tag_objects(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        return [self.tags[tag_id] for tag_id in ids if tag_id in self.tags]


def _credential_ids(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    for node in nodes:
        for reference in (node.get("credentials") or {}).values():
            if isinstance(reference, dict):
                yield reference.get("id")


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
