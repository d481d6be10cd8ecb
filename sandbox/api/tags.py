"""Tags."""

from __future__ import annotations

from sandbox.records import now

from .calls import NOT_FOUND, Answer, Request, message, page_of, reply


def list_tags(request: Request) -> Answer:
    return page_of(request, list(request.instance.tags.values()))


def _bad_tag_name(request: Request, name: str) -> bool:
    taken = any(tag["name"] == name and tag["id"] != request.params.get("id") for tag in request.instance.tags.values())
    return taken or not 1 <= len(name) <= 24


TAG_EXISTS = message(409, "Tag already exists")


def create_tag(request: Request) -> Answer:
    name = request.body["name"].strip()
    if _bad_tag_name(request, name):
        return TAG_EXISTS
    tag = request.instance.tags[request.instance.tag_id(name)]
    return reply(tag, 201)


def get_tag(request: Request) -> Answer:
    tag = request.instance.tags.get(request.params["id"])
    return reply(tag) if tag else NOT_FOUND


def update_tag(request: Request) -> Answer:
    tag = request.instance.tags.get(request.params["id"])
    if tag is None:
        return NOT_FOUND
    name = request.body["name"].strip()
    if _bad_tag_name(request, name):
        return TAG_EXISTS
    tag["name"], tag["updatedAt"] = name, now()
    return reply({"id": tag["id"], "name": name, "updatedAt": tag["updatedAt"]})


def delete_tag(request: Request) -> Answer:
    tag = request.instance.tags.pop(request.params["id"], None)
    if tag is None:
        return NOT_FOUND
    for workflow in request.instance.workflows.values():
        if tag["id"] in workflow.tags:
            workflow.tags.remove(tag["id"])
    return reply(tag)
