"""The public API of one instance: what is asked, and n8n's answer. Pure of HTTP: see `app.py` for the wire."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from .schema import MAX_PAGE, Operation, Profile, components, first_error, operations, read_query
from .state import Instance, Workflow, new_id, now, starts

_TEXT = {"type": "string"}
# The fields of a few credential types; others whose name looks like one take anything.
CREDENTIAL_TYPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # type: (fields, required fields)
    "httpBasicAuth": (("user", "password"), ()),
    "httpHeaderAuth": (("name", "value", "useCustomAuth"), ()),
    "slackApi": (("accessToken", "signatureSecret", "notice"), ("accessToken",)),
    "postgres": (("host", "database", "user", "password", "port", "ssl"), ()),
}
_LOOKS_LIKE_A_TYPE = re.compile(
    r"(Api|Auth|OAuth2|Oauth2Api)$|^(aws|ftp|imap|smtp|redis|mySql|mongoDb|s3|sftp|ssh\w*)$"
)


@dataclass(slots=True)
class Request:
    """One call, past the key and the checks of the contract."""

    instance: Instance
    params: dict[str, str]
    query: dict[str, Any]
    body: Any


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def reply(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value))


def message(status: int, text: str) -> Answer:
    return reply({"message": text}, status)


NOT_FOUND = message(404, "Not Found")
Handler = Callable[[Request], Answer]


@lru_cache(maxsize=8)
def _routes(profile: Profile) -> tuple[tuple[re.Pattern[str], dict[str, Operation]], ...]:
    """Paths with fewer placeholders first, so that `/workflows/x/tags` is not taken for a version called `tags`."""
    ordered = sorted(operations(profile).items(), key=lambda item: item[0].count("{"))
    return tuple((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$"), methods) for path, methods in ordered)


def find(profile: Profile, method: str, path: str) -> tuple[Operation, dict[str, str]] | Answer:
    """The operation behind a path below `/api/v1`. An unknown path and a wrong method come before the key."""
    for pattern, methods in _routes(profile):
        if match := pattern.match(path):
            if method not in methods:
                return message(405, f"{method} method not allowed")
            return methods[method], match.groupdict()
    return message(404, "not found")


def handle(
    instance: Instance,
    method: str,
    path: str,
    *,
    query: Mapping[str, str],
    key: str | None,
    media: str | None,
    body: Any,
) -> Answer:
    """Answer one call as n8n does: path, method, key, query, media type, body, and only then the thing itself."""
    found = find(instance.profile, method, path)
    if isinstance(found, Answer):
        return found
    operation, params = found
    if not key:
        return message(401, "'X-N8N-API-KEY' header required")
    if key not in instance.api_keys:
        return message(401, "unauthorized")
    values, complaint = read_query(query, operation)
    if complaint:
        return message(400, complaint)
    if operation.body:
        if operation.body_required and media != "application/json":
            return message(415, f"unsupported media type {media or 'undefined'}")
        if body is not None or operation.body_required:
            schemas = components(instance.profile)
            if complaint := first_error({} if body is None else body, schemas[operation.body], schemas):
                return message(400, complaint)
    if operation.licence:
        return message(
            403,
            f"Your license does not allow for {operation.licence}. To enable {operation.licence}, please upgrade to a"
            " license that supports this feature.",
        )
    return HANDLERS[operation.handler](Request(instance, params, values, body))


def _cursor(request: Request) -> dict[str, Any] | None:
    """What the cursor says; {} without one, None for one that was not made here."""
    text = request.query.get("cursor")
    if not text:
        return {}
    try:
        value = orjson.loads(base64.b64decode(text, validate=True))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _next(value: Mapping[str, Any]) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


BAD_CURSOR = message(400, "An invalid cursor was provided")


def _window(request: Request, total: int) -> tuple[int, int, str | None] | None:
    """Start and end of the asked page and the next cursor; None for a bad cursor. The cursor's limit wins."""
    cursor = _cursor(request)
    if cursor is None:
        return None
    limit = int(cursor.get("limit", request.query.get("limit", 100)))
    offset = int(cursor.get("offset", 0))
    if limit <= 0:
        return offset, total, None
    end = offset + min(limit, MAX_PAGE)
    return offset, end, _next({"limit": limit, "offset": end}) if total > end else None


def _page(request: Request, items: list[Any]) -> Answer:
    window = _window(request, len(items))
    if window is None:
        return BAD_CURSOR
    start, end, following = window
    return reply({"data": items[start:end], "nextCursor": following})


# Workflows --------------------------------------------------------------------------------------------------------


def _workflow(request: Request) -> Workflow | None:
    return request.instance.workflows.get(request.params["id"])


def list_workflows(request: Request) -> Answer:
    instance, query = request.instance, request.query
    ids: list[str] = instance.order
    if query.keys() & {"active", "name", "tags", "projectId"}:
        ids = [identity for identity in ids if _wanted(instance, instance.workflows[identity], query)]
    window = _window(request, len(ids))
    if window is None:
        return BAD_CURSOR
    start, end, following = window
    pin = not query.get("excludePinnedData")
    rendered = [instance.render(instance.workflows[identity], listed=True, pin=pin) for identity in ids[start:end]]
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
    return Answer(200, request.instance.render(workflow, shared=False, tags=False, live=False))


def get_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    return Answer(200, request.instance.render(workflow, pin=not request.query.get("excludePinnedData")))


def get_version(request: Request) -> Answer:
    workflow = _workflow(request)
    versions = workflow.versions if workflow else []
    for version in reversed(versions):
        if workflow and version.id == request.params["versionId"]:
            return Answer(200, request.instance.render_version(workflow, version))
    return message(404, "Version not found")


def update_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    if complaint := request.instance.change(workflow, request.body, publish=True):
        return message(400, complaint)
    return Answer(200, request.instance.render(workflow, shared=False, live=False))


def delete_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    body = request.instance.render(workflow, tags=False, live=False)
    request.instance.remove(workflow)
    return Answer(200, body)


def activate_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    wanted = (request.body or {}).get("versionId") if request.instance.profile.activate_takes_version else None
    if workflow.active and wanted is None:
        return Answer(200, request.instance.render(workflow, tags=False))
    if wanted is not None and all(version.id != wanted for version in workflow.versions):
        return message(404, "Not Found")
    if complaint := request.instance.activate(workflow, wanted):
        return message(400, complaint)
    return Answer(200, request.instance.render(workflow, shared=False, tags=False))


def deactivate_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    request.instance.deactivate(workflow)
    return Answer(200, request.instance.render(workflow, tags=False))


def archive_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    request.instance.deactivate(workflow)
    workflow.archived = True
    return Answer(200, request.instance.render(workflow, tags=False))


def unarchive_workflow(request: Request) -> Answer:
    if (workflow := _workflow(request)) is None:
        return NOT_FOUND
    workflow.archived = False
    return Answer(200, request.instance.render(workflow, tags=False))


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


# Tags -------------------------------------------------------------------------------------------------------------


def list_tags(request: Request) -> Answer:
    return _page(request, list(request.instance.tags.values()))


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


# Credentials ------------------------------------------------------------------------------------------------------


def _schema_of(kind: str) -> dict[str, Any] | None:
    if kind in CREDENTIAL_TYPES:
        names, required = CREDENTIAL_TYPES[kind]
        properties = {
            name: {"type": "notice"} if name in ("notice", "useCustomAuth") else dict(_TEXT) for name in names
        }
        return {"additionalProperties": False, "type": "object", "properties": properties, "required": list(required)}
    if _LOOKS_LIKE_A_TYPE.search(kind):
        return {"additionalProperties": True, "type": "object", "properties": {}, "required": []}
    return None


def credential_schema(request: Request) -> Answer:
    schema = _schema_of(request.params["credentialTypeName"])
    return reply(schema) if schema else NOT_FOUND


def create_credential(request: Request) -> Answer:
    body = request.body
    schema = _schema_of(body["type"])
    if schema is None:
        return message(400, "req.body.type is not a known type")
    for name in body["data"]:
        if not schema["additionalProperties"] and name not in schema["properties"]:
            return message(400, f'request.body.data is not allowed to have the additional property "{name}"')
    for name in schema["required"]:
        if name not in body["data"]:
            return message(400, f'request.body.data requires property "{name}"')
    moment = now()
    record = {
        "name": body["name"],
        "type": body["type"],
        "id": new_id(),
        "updatedAt": moment,
        "createdAt": moment,
        "isManaged": False,
        "isGlobal": False,
    }
    request.instance.credentials[record["id"]] = record
    return reply(record)


def list_credentials(request: Request) -> Answer:
    return _page(request, list(request.instance.credentials.values()))


def get_credential(request: Request) -> Answer:
    record = request.instance.credentials.get(request.params["id"])
    return reply(record) if record else NOT_FOUND


def patch_credential(request: Request) -> Answer:
    record = request.instance.credentials.get(request.params["id"])
    if record is None:
        return NOT_FOUND
    record |= {key: request.body[key] for key in ("name", "type") if key in request.body}
    record["updatedAt"] = now()
    return reply(record)


def delete_credential(request: Request) -> Answer:
    record = request.instance.credentials.pop(request.params["id"], None)
    return reply({key: value for key, value in record.items() if key != "id"}) if record else NOT_FOUND


# Executions -------------------------------------------------------------------------------------------------------

_SHORT = ("createdAt", "deletedAt")


def list_executions(request: Request) -> Answer:
    cursor, query = _cursor(request), request.query
    if cursor is None:
        return BAD_CURSOR
    limit = int(cursor.get("limit", query.get("limit", 100)))
    last = int(cursor.get("lastId", 0))
    wanted = [
        run
        for run in reversed(request.instance.executions)
        if (not last or int(run["id"]) < last)
        and query.get("status", run["status"]) == run["status"]
        and query.get("workflowId", run["workflowId"]) == run["workflowId"]
    ]
    page = [{key: value for key, value in run.items() if key not in _SHORT} for run in wanted[:limit]]
    more = len(wanted) > limit
    return reply({"data": page, "nextCursor": _next({"lastId": page[-1]["id"], "limit": limit}) if more else None})


def _execution(request: Request) -> dict[str, Any] | None:
    return next((run for run in request.instance.executions if run["id"] == request.params["id"]), None)


def get_execution(request: Request) -> Answer:
    run = _execution(request)
    if run is None:
        return NOT_FOUND
    data = {"version": 1, "startData": {}, "resultData": {"runData": {}}} if request.query.get("includeData") else None
    return reply({**run, "data": data} if data else run)


def delete_execution(request: Request) -> Answer:
    run = _execution(request)
    if run is None:
        return NOT_FOUND
    if run["status"] == "running":
        return message(400, "Cannot delete a running execution")
    request.instance.executions.remove(run)
    return reply(run)


# The rest ---------------------------------------------------------------------------------------------------------


def list_users(request: Request) -> Answer:
    instance = request.instance
    owner = instance.owner
    user: dict[str, Any] = {
        "id": owner.id,
        "email": owner.email,
        "firstName": owner.first_name,
        "lastName": owner.last_name,
        "createdAt": instance.created,
        "updatedAt": instance.created,
        "isPending": False,
    }
    if request.query.get("includeRole"):
        user["role"] = "global:owner"
    return _page(request, [user])


def licensed(request: Request) -> Answer:  # pragma: no cover - answered before it is reached
    return message(403, "Your license does not allow for this.")


def source_control(request: Request) -> Answer:
    return reply({"status": "Error", "message": "Source Control feature is not licensed"}, 401)


def audit(request: Request) -> Answer:
    """A small risk report in the shape of n8n's; an empty list when there is nothing to say."""
    instance = request.instance
    used: set[str] = set()
    open_hooks: list[dict[str, Any]] = []
    code: list[dict[str, Any]] = []
    for workflow in instance.workflows.values():
        for node in workflow.node_list():
            used |= {
                ref["id"] for ref in (node.get("credentials") or {}).values() if isinstance(ref, dict) and "id" in ref
            }
            place = {
                "kind": "node",
                "workflowId": workflow.id,
                "workflowName": workflow.name,
                "nodeId": node.get("id"),
                "nodeName": node.get("name"),
                "nodeType": node.get("type"),
            }
            kind = str(node.get("type", ""))
            if kind.endswith(".webhook") and starts(node) and workflow.active and not node.get("credentials"):
                open_hooks.append(place)
            if kind.endswith((".code", ".executeCommand", ".ssh")):
                code.append(place)
    unused = [
        {"kind": "credential", "id": record["id"], "name": record["name"]}
        for record in instance.credentials.values()
        if record["id"] not in used
    ]
    report = {}
    for title, risk, section, advice, places in (
        (
            "Credentials Risk Report",
            "credentials",
            "Credentials not used in any workflow",
            "Delete what is unused.",
            unused,
        ),
        ("Nodes Risk Report", "nodes", "Nodes that run code", "Look at what they run.", code),
        ("Instance Risk Report", "instance", "Unprotected webhooks in instance", "Ask callers to sign in.", open_hooks),
    ):
        if places:
            entry = {"title": section, "description": f"{section}.", "recommendation": advice, "location": places}
            report[title] = {"risk": risk, "sections": [entry]}
    return reply(report or [])


HANDLERS: Mapping[str, Handler] = {
    function.__name__: function
    for function in (
        list_workflows,
        create_workflow,
        get_workflow,
        get_version,
        update_workflow,
        delete_workflow,
        activate_workflow,
        deactivate_workflow,
        archive_workflow,
        unarchive_workflow,
        transfer,
        get_workflow_tags,
        put_workflow_tags,
        list_tags,
        create_tag,
        get_tag,
        update_tag,
        delete_tag,
        credential_schema,
        create_credential,
        list_credentials,
        get_credential,
        patch_credential,
        delete_credential,
        list_executions,
        get_execution,
        delete_execution,
        list_users,
        licensed,
        source_control,
        audit,
    )
}


def webhook(instance: Instance, method: str, path: str) -> Answer:
    """What a production webhook answers, and the execution it leaves behind."""
    owner = instance.webhooks.get((method, path))
    if owner is None:
        others = [known for known, hooked in instance.webhooks if hooked == path]
        if others:
            text = f"This webhook is not registered for {method} requests. Did you mean to make a {others[0]} request?"
        else:
            text = f'The requested webhook "{method} {path}" is not registered.'
        return reply({"code": 404, "message": text}, 404)
    workflow = instance.workflows[owner[0]]
    node: dict[str, Any] = next(
        (node for node in orjson.loads(workflow.live.nodes) if node.get("name") == owner[1])
        if workflow.live
        else iter(()),
        {},
    )
    guarded = (node.get("parameters") or {}).get("authentication", "none") != "none"
    references = (node.get("credentials") or {}).values()
    if guarded and not any(ref.get("id") in instance.credentials for ref in references if isinstance(ref, dict)):
        return Answer(500, b"No authentication data defined on node!", content_type="text/plain")
    instance.run(workflow.id, status="error" if instance.missing_references(workflow) else "success", mode="webhook")
    return message(200, "Workflow was started")
