"""A workflow as n8n's answers hold it: fragments joined, never dumped again."""

from __future__ import annotations

from typing import Any

import orjson

from .records import Version, Workflow
from .state import Instance

SHARED, TAGS, LIVE = "shared", "tags", "activeVersion"
WHOLE = frozenset({SHARED, TAGS, LIVE})


def render(
    instance: Instance,
    workflow: Workflow,
    *,
    listed: bool = False,
    pin: bool = True,
    parts: frozenset[str] = WHOLE,
) -> bytes:
    """The JSON of a workflow as one of n8n's answers holds it; `listed` is the shorter form of the list."""
    strict = instance.profile.strict
    join = [_head(workflow, listed=listed), *_content(instance, workflow)]
    if pin:
        join += [b',"pinData":', workflow.pin_data]
    live_id = f'"{workflow.live.id}"' if workflow.live else "null"
    join.append(f',"versionId":"{workflow.version}","activeVersionId":{live_id}'.encode())
    if not listed:
        join.append(f',"versionCounter":{workflow.counter}'.encode())
    if strict and not listed:
        join.append(b',"sourceWorkflowId":null')
    if (strict and not listed) or (workflow.folder and instance.profile.lists_folders):
        join.append(b',"parentFolder":' + _folder(workflow))
    join.append(f',"triggerCount":{workflow.trigger_count}'.encode())
    join += _parts(instance, workflow, parts, listed=listed)
    return b"".join([*join, b"}"])


def _head(workflow: Workflow, *, listed: bool) -> bytes:
    fields: dict[str, Any] = {
        "updatedAt": workflow.updated,
        "createdAt": workflow.created,
        "id": workflow.id,
        "name": workflow.name,
    }
    if not listed:
        fields["description"] = workflow.description
    return orjson.dumps({**fields, "active": workflow.active, "isArchived": workflow.archived})[:-1]


def _content(instance: Instance, workflow: Workflow) -> list[bytes]:
    join = [b',"nodes":', workflow.nodes, b',"connections":', workflow.connections]
    if instance.profile.has_node_groups:
        join += [b',"nodeGroups":', workflow.node_groups]
    join.append(b',"settings":' + orjson.dumps(workflow.settings))
    return [*join, b',"staticData":', workflow.static_data, b',"meta":', workflow.meta]


def _folder(workflow: Workflow) -> bytes:
    return orjson.dumps({"id": workflow.folder, "name": workflow.folder} if workflow.folder else None)


def _parts(instance: Instance, workflow: Workflow, parts: frozenset[str], *, listed: bool) -> list[bytes]:
    """What an answer holds beside the workflow itself."""
    join: list[bytes] = []
    if SHARED in parts:
        join.append(b',"shared":[' + _shared(instance, workflow, project=not listed) + b"]")
    if TAGS in parts:
        join.append(b',"tags":' + orjson.dumps(instance.tag_objects(workflow.tags)))
    if LIVE in parts:
        version = _version(instance, workflow, workflow.live) if workflow.live else [b"null"]
        join += [b',"activeVersion":', *version]
    return join


def version_head(instance: Instance, workflow: Workflow, version: Version) -> dict[str, Any]:
    """A version without its content."""
    return {
        "updatedAt": version.at,
        "createdAt": version.at,
        "versionId": version.id,
        "workflowId": workflow.id,
        "authors": version.author or f"{instance.owner.first_name} {instance.owner.last_name}",
        "name": version.name,
        "description": version.description,
    }


def _version(instance: Instance, workflow: Workflow, version: Version) -> list[bytes]:
    join = [orjson.dumps(version_head(instance, workflow, version))[:-1], b',"nodes":', version.nodes]
    join += [b',"connections":', version.connections]
    if instance.profile.has_node_groups:
        join += [b',"nodeGroups":', version.node_groups]
    if instance.profile.stages and version is workflow.live:
        join.append(b',"autosaved":true' if version.autosaved else b',"autosaved":false')
    return [*join, b"}"]


def render_version(instance: Instance, workflow: Workflow, version: Version) -> bytes:
    return b"".join(_version(instance, workflow, version))


def _shared(instance: Instance, workflow: Workflow, *, project: bool) -> bytes:
    moment = workflow.shared_at or workflow.created
    entry: dict[str, Any] = {
        "updatedAt": moment,
        "createdAt": moment,
        "role": "workflow:owner",
        "workflowId": workflow.id,
        "projectId": instance.owner.project_id,
    }
    if project:
        entry["project"] = _project(instance)
    return orjson.dumps(entry)


def _project(instance: Instance) -> dict[str, Any]:
    owner = instance.owner
    dates = {"updatedAt": instance.created, "createdAt": instance.created}
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
        "lastActiveAt": instance.created[:10],
        "isPending": False,
    }
    relation = {**dates, "userId": owner.id, "projectId": owner.project_id, "user": user}
    project = {
        **dates,
        "id": owner.project_id,
        "name": f"{owner.first_name} {owner.last_name} <{owner.email}>",
        "type": "personal",
        "icon": None,
        "description": None,
    }
    if instance.profile.strict:
        return {**project, "customTelemetryTags": [], "creatorId": owner.id}
    return {**project, "projectRelations": [relation]}
