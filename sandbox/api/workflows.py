"""Workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.records import Workflow
from sandbox.rendering import render, render_version
from sandbox.state import Instance

from .calls import BAD_CURSOR, NOT_FOUND, Answer, Request, message, reply, window


def _workflow(request: Request) -> Workflow | None:
    return request.instance.workflows.get(request.params["id"])


def list_workflows(request: Request) -> Answer:
    instance, query = request.instance, request.query
    ids: list[str] = instance.order
    if query.keys() & {"active", "name", "tags", "projectId"}:
        ids = [identity for identity in ids if _wanted(instance, instance.workflows[identity], query)]
    found = window(request, len(ids))
    if found is None:
        return BAD_CURSOR
    start, end, following = found
    pin = not query.get("excludePinnedData")
    rendered = [render(instance, instance.workflows[identity], listed=True, pin=pin) for identity in ids[start:end]]
    return Answer(200, b'{"data":[' + b",".join(rendered) + b'],"nextCursor":' + orjson.dumps(following) + b"}")


def _wanted(instance: Instance, workflow: Workflow, query: Mapping[str, Any]) -> bool:
    if "active" in query and workflow.active is not query["active"]:
        return False
    if "name" in query and query["name"].strip().lower() not in workflow.name.lower():
        return False
    if query.get("projectId", instance.owner.project_id) != instance.owner.project_id:
        return False
    if "tags" in query:
        names = {tag["name"] for tag in instance.tag_objects(workflow.tags)}
        return all(name.strip() in names for name in query["tags"].split(","))
    return True


def create_workflow(request: Request) -> Answer:
    workflow = request.instance.add(request.body)
    return Answer(200, render(request.instance, workflow, shared=False, tags=False, live=False))


def get_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    return Answer(200, render(request.instance, workflow, pin=not request.query.get("excludePinnedData")))


def get_version(request: Request) -> Answer:
    workflow = _workflow(request)
    versions = workflow.versions if workflow else []
    for version in reversed(versions):
        if workflow and version.id == request.params["versionId"]:
            return Answer(200, render_version(request.instance, workflow, version))
    return message(404, "Version not found")


def update_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    if complaint := request.instance.change(workflow, request.body, publish=True):
        return message(400, complaint)
    return Answer(200, render(request.instance, workflow, shared=False, live=False))


def delete_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    body = render(request.instance, workflow, tags=False, live=False)
    request.instance.remove(workflow)
    return Answer(200, body)


def activate_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    wanted = (request.body or {}).get("versionId") if request.instance.profile.activate_takes_version else None
    if workflow.active and wanted is None:
        return Answer(200, render(request.instance, workflow, tags=False))
    if wanted is not None and all(version.id != wanted for version in workflow.versions):
        return message(404, "Not Found")
    if complaint := request.instance.activate(workflow, wanted):
        return message(400, complaint)
    return Answer(200, render(request.instance, workflow, shared=False, tags=False))


def deactivate_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    request.instance.deactivate(workflow)
    return Answer(200, render(request.instance, workflow, tags=False))


def archive_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    request.instance.deactivate(workflow)
    workflow.archived = True
    return Answer(200, render(request.instance, workflow, tags=False))


def unarchive_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    workflow.archived = False
    return Answer(200, render(request.instance, workflow, tags=False))


def transfer(request: Request) -> Answer:
    project = request.body["destinationProjectId"]
    if request.params["id"] not in request.instance.workflows | request.instance.credentials:
        return NOT_FOUND
    return message(
        400,
        f'Could not find project with the id "{project}". Make sure you have the permission to create workflows in it.',
    )


def get_workflow_tags(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    return reply(request.instance.tag_objects(workflow.tags))


def put_workflow_tags(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    ids = [tag["id"] for tag in request.body]
    if any(tag_id not in request.instance.tags for tag_id in ids):
        return message(404, "Some tags not found")
    workflow.tags = ids
    return reply(request.instance.tag_objects(ids))
