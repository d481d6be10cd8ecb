"""Workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.records import Workflow
from sandbox.rendering import LIVE, SHARED, TAGS, render, render_version, version_head
from sandbox.rules import CONFLICT
from sandbox.state import Instance

from .calls import BAD_CURSOR, NOT_FOUND, Answer, Request, message, page_of, reply, window

#: What the replies to writes hold beside the workflow itself, by whether the profile is one of the strict ones.
CREATED: dict[bool, frozenset[str]] = {False: frozenset(), True: frozenset({SHARED, TAGS, LIVE})}
UPDATED = {False: frozenset({TAGS}), True: frozenset({TAGS, LIVE})}
PUBLISHED, AGAIN, DELETED = frozenset({LIVE}), frozenset({SHARED, LIVE}), frozenset({SHARED})


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
    instance, body = request.instance, request.body
    if complaint := instance.refuses(None, body):
        return message(400, complaint)
    if body.get("projectId") not in (None, instance.owner.project_id):
        return message(404, "Project not found")
    if refusal := _no_folder(instance, body):
        return refusal
    return Answer(200, render(instance, instance.add(body), parts=CREATED[instance.profile.strict]))


def _no_folder(instance: Instance, body: Mapping[str, Any]) -> Answer | None:
    folder = body.get("parentFolderId")
    known = folder in (None, "", "0", *instance.folders)
    return None if known else message(404, f"Could not find the folder: {folder}")


def get_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    return Answer(200, render(request.instance, workflow, pin=not request.query.get("excludePinnedData")))


def get_version(request: Request) -> Answer:
    workflow = _workflow(request)
    version = workflow.version_called(request.params["versionId"]) if workflow else None
    if workflow is None or version is None:
        return message(404, "Version not found")
    return Answer(200, render_version(request.instance, workflow, version))


def list_versions(request: Request) -> Answer:
    """The newest first, without their content."""
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    return page_of(request, [version_head(request.instance, workflow, v) for v in reversed(workflow.versions)])


def _unknown(request: Request, verb: str) -> Answer:
    """There is no such workflow, in this call's words."""
    if not request.instance.profile.strict:
        return NOT_FOUND
    if verb == "archive":
        return message(404, "Workflow not found")
    return message(404, f"You do not have permission to {verb} this workflow. Ask the owner to share it with you.")


def _refused(complaint: str) -> Answer:
    return message(409 if complaint == CONFLICT else 400, complaint)


def update_workflow(request: Request) -> Answer:
    instance, body = request.instance, request.body
    if (workflow := _workflow(request)) is None:
        return _unknown(request, "update")
    if refusal := _not_storable(request, workflow):
        return refusal
    publish = bool(request.query.get("publishIfActive", True))
    allowed = not instance.profile.strict or request.may("workflow:activate")
    if complaint := instance.change(workflow, body, publish=publish and allowed):
        return _refused(complaint)
    if workflow.active and publish and not allowed:
        return _saved_as_draft(workflow)
    return Answer(200, render(instance, workflow, parts=UPDATED[instance.profile.strict]))


def _not_storable(request: Request, workflow: Workflow) -> Answer | None:
    instance, body = request.instance, request.body
    if workflow.archived and instance.profile.strict:
        return message(400, "Cannot update an archived workflow.")
    if complaint := instance.refuses(workflow, body):
        return message(400, complaint)
    return _no_folder(instance, body)


def _saved_as_draft(workflow: Workflow) -> Answer:
    words = "Your change was saved as a draft. It wasn't published because this API key does not have the"
    return reply(
        {
            "message": f"{words} workflow:activate scope.",
            "reason": "insufficient_api_key_scope",
            "versionId": workflow.version,
        },
        403,
    )


def delete_workflow(request: Request) -> Answer:
    instance = request.instance
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    if instance.profile.publishes_later:
        if workflow.active:
            return message(409, "Cannot delete a published workflow. Unpublish it before deleting.")
        if workflow.id in instance.pending:
            return message(409, "Workflow is still being unpublished. Please try again in a few moments.")
    body = render(instance, workflow, parts=DELETED)
    instance.remove(workflow)
    return Answer(200, body)


def activate_workflow(request: Request) -> Answer:
    """`activate`, and since there is one `publish`: both take the id of a version."""
    instance, body = request.instance, request.body or {}
    if (workflow := _workflow(request)) is None:
        return _unknown(request, "activate")
    wanted = body.get("versionId") if instance.profile.has_drafts else None
    if early := _without_activation(instance, workflow, wanted):
        return early
    if complaint := instance.activate(workflow, wanted):
        return _refused(complaint)
    if workflow.live and instance.profile.has_drafts:
        workflow.live.name = body.get("name") or workflow.live.name
        workflow.live.description = body.get("description") or workflow.live.description
    return Answer(200, render(instance, workflow, parts=PUBLISHED))


def _without_activation(instance: Instance, workflow: Workflow, wanted: str | None) -> Answer | None:
    """The answer where nothing is activated: a refusal, or the workflow that is active already."""
    strict = instance.profile.strict
    if workflow.archived and strict:
        return message(400, "Cannot activate an archived workflow.")
    if workflow.active and wanted is None and not strict:
        return Answer(200, render(instance, workflow, parts=AGAIN))
    if wanted is not None and workflow.version_called(wanted) is None:
        return message(404, "Version not found" if strict else "Not Found")
    return None


def deactivate_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return _unknown(request, "deactivate")
    request.instance.deactivate(workflow)
    return Answer(200, render(request.instance, workflow, parts=AGAIN))


def archive_workflow(request: Request) -> Answer:
    return _set_archived(request, archived=True)


def unarchive_workflow(request: Request) -> Answer:
    return _set_archived(request, archived=False)


def _set_archived(request: Request, *, archived: bool) -> Answer:
    if (workflow := _workflow(request)) is None:
        return _unknown(request, "archive")
    if request.instance.profile.strict and not archived and not workflow.archived:
        return message(400, "Workflow is not archived.")
    request.instance.archive(workflow, archived)
    return Answer(200, render(request.instance, workflow, parts=AGAIN))


def transfer(request: Request) -> Answer:
    project = request.body["destinationProjectId"]
    if request.params["id"] not in request.instance.workflows | request.instance.credentials:
        return NOT_FOUND
    words = f'Could not find project with the id "{project}".'
    status = 404 if request.instance.profile.strict else 400
    return message(status, f"{words} Make sure you have the permission to create workflows in it.")


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
