"""The contract of one instance: an OpenAPI document, and the same document enforced on what comes in.

A profile says which version of n8n an instance resembles. `1.123` and `2.0` follow measurements on real instances;
`2.20` follows what newer versions publish and was not compared with a running one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import yaml

Schema = dict[str, Any]

MAX_PAGE = 250
EXECUTION_STATUSES = ("canceled", "error", "running", "success", "waiting")


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs between the versions of n8n that the sandbox knows."""

    name: str
    n8n_version: str
    activate_takes_version: bool = False
    settings_edit_keeps_version: bool = False
    lists_credentials: bool = False
    accepts_pin_data: bool = False
    accepts_description: bool = False
    archives: bool = False
    extra_settings: tuple[str, ...] = ()


PROFILES: Mapping[str, Profile] = {
    "1.123": Profile(name="1.123", n8n_version="1.123.0"),
    "2.0": Profile(name="2.0", n8n_version="2.0.3", activate_takes_version=True, settings_edit_keeps_version=True),
    "2.20": Profile(
        name="2.20",
        n8n_version="2.20.0",
        activate_takes_version=True,
        settings_edit_keeps_version=True,
        lists_credentials=True,
        accepts_pin_data=True,
        accepts_description=True,
        archives=True,
        extra_settings=("binaryMode",),
    ),
}
DEFAULT_PROFILE = "1.123"

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
DATE: Schema = {"type": "string", "format": "date-time", "readOnly": True}


def _read_only(schema: Schema) -> Schema:
    return {**schema, "readOnly": True}


def node_schema() -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "id": STRING,
            "name": STRING,
            "webhookId": STRING,
            "disabled": BOOLEAN,
            "notesInFlow": BOOLEAN,
            "notes": STRING,
            "type": STRING,
            "typeVersion": NUMBER,
            "executeOnce": BOOLEAN,
            "alwaysOutputData": BOOLEAN,
            "retryOnFail": BOOLEAN,
            "maxTries": NUMBER,
            "waitBetweenTries": NUMBER,
            "continueOnFail": {**BOOLEAN, "deprecated": True},
            "onError": STRING,
            "position": {"type": "array", "items": NUMBER},
            "parameters": {"type": "object", "additionalProperties": True},
            "credentials": OBJECT,
            "createdAt": DATE,
            "updatedAt": DATE,
        },
    }


def settings_schema(profile: Profile) -> Schema:
    kept = {"type": "string", "enum": ["all", "none"]}
    properties: Schema = {
        "saveExecutionProgress": BOOLEAN,
        "saveManualExecutions": BOOLEAN,
        "saveDataErrorExecution": kept,
        "saveDataSuccessExecution": kept,
        "executionTimeout": NUMBER,
        "errorWorkflow": STRING,
        "timezone": STRING,
        "executionOrder": STRING,
        "callerPolicy": {
            "type": "string",
            "enum": ["any", "none", "workflowsFromAList", "workflowsFromSameOwner"],
            "default": "workflowsFromSameOwner",
        },
        "callerIds": STRING,
        "timeSavedPerExecution": NUMBER,
        "availableInMCP": {"type": "boolean", "default": False},
    }
    properties |= dict.fromkeys(profile.extra_settings, STRING)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def workflow_schema(profile: Profile) -> Schema:
    properties: Schema = {
        "id": _read_only(STRING),
        "name": STRING,
        "active": _read_only(BOOLEAN),
        "createdAt": DATE,
        "updatedAt": DATE,
        "nodes": {"type": "array", "items": {"$ref": "#/components/schemas/node"}},
        "connections": OBJECT,
        "settings": {"$ref": "#/components/schemas/workflowSettings"},
        "staticData": {
            "anyOf": [
                {"type": "string", "format": "jsonString", "nullable": True},
                {"type": "object", "nullable": True},
            ]
        },
        "tags": _read_only({"type": "array", "items": {"$ref": "#/components/schemas/tag"}}),
        "shared": {"type": "array", "items": {"type": "object"}},
        "activeVersion": _read_only({"type": "object", "nullable": True}),
    }
    if profile.accepts_pin_data:
        properties["pinData"] = {"type": "object", "nullable": True}
    if profile.accepts_description:
        properties["description"] = {"type": "string", "nullable": True}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "nodes", "connections", "settings"],
        "properties": properties,
    }


TAG: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {"id": _read_only(STRING), "name": STRING, "createdAt": DATE, "updatedAt": DATE},
}
TAG_IDS: Schema = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": False, "required": ["id"], "properties": {"id": STRING}},
}
CREDENTIAL: Schema = {
    "type": "object",
    "required": ["name", "type", "data"],
    "properties": {"id": _read_only(STRING), "name": STRING, "type": STRING, "data": {**OBJECT, "writeOnly": True}},
}
CREDENTIAL_PATCH: Schema = {"type": "object", "properties": CREDENTIAL["properties"]}
TRANSFER: Schema = {
    "type": "object",
    "required": ["destinationProjectId"],
    "properties": {"destinationProjectId": STRING},
}
ACTIVATE: Schema = {"type": "object", "properties": {"versionId": STRING, "name": STRING, "description": STRING}}


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API: what the router looks up and the document describes."""

    handler: str
    summary: str
    query: tuple[tuple[str, Schema], ...] = ()
    body: str | None = None
    body_required: bool = True
    licence: str | None = None


_PAGE = (("limit", {"type": "number", "default": 100, "maximum": MAX_PAGE}), ("cursor", STRING))
_NO_PIN = (("excludePinnedData", BOOLEAN),)
_VARIABLES = "feat:variables"
_PROJECTS = "feat:projectRole:admin"


@lru_cache(maxsize=8)
def operations(profile: Profile) -> dict[str, dict[str, Operation]]:
    """Path template -> method -> operation."""
    status: Schema = {"type": "string", "enum": list(EXECUTION_STATUSES)}
    listing = (
        ("active", BOOLEAN),
        ("tags", STRING),
        ("name", STRING),
        ("projectId", STRING),
        *_NO_PIN,
        *_PAGE,
    )
    runs = (("includeData", BOOLEAN), ("status", status), ("workflowId", STRING), ("projectId", STRING), *_PAGE)
    paths: dict[str, dict[str, Operation]] = {
        "/audit": {"POST": Operation("audit", "Generate a risk report", body="auditRequest", body_required=False)},
        "/credentials": {"POST": Operation("create_credential", "Create a credential", body="credential")},
        "/credentials/{id}": {"DELETE": Operation("delete_credential", "Delete a credential")},
        "/credentials/schema/{credentialTypeName}": {
            "GET": Operation("credential_schema", "Fields of a credential type")
        },
        "/credentials/{id}/transfer": {"PUT": Operation("transfer", "Move a credential", body="transfer")},
        "/executions": {"GET": Operation("list_executions", "List executions", query=runs)},
        "/executions/{id}": {
            "GET": Operation("get_execution", "One execution", query=(("includeData", BOOLEAN),)),
            "DELETE": Operation("delete_execution", "Delete an execution"),
        },
        "/tags": {
            "GET": Operation("list_tags", "List tags", query=_PAGE),
            "POST": Operation("create_tag", "Create a tag", body="tag"),
        },
        "/tags/{id}": {
            "GET": Operation("get_tag", "One tag"),
            "PUT": Operation("update_tag", "Rename a tag", body="tag"),
            "DELETE": Operation("delete_tag", "Delete a tag"),
        },
        "/workflows": {
            "GET": Operation("list_workflows", "List workflows, whole", query=listing),
            "POST": Operation("create_workflow", "Create a workflow", body="workflow"),
        },
        "/workflows/{id}": {
            "GET": Operation("get_workflow", "One workflow", query=_NO_PIN),
            "PUT": Operation("update_workflow", "Replace a workflow", body="workflow"),
            "DELETE": Operation("delete_workflow", "Delete a workflow"),
        },
        "/workflows/{id}/activate": {
            "POST": Operation(
                "activate_workflow",
                "Activate a workflow",
                body="activate" if profile.activate_takes_version else None,
                body_required=False,
            )
        },
        "/workflows/{id}/deactivate": {"POST": Operation("deactivate_workflow", "Deactivate a workflow")},
        "/workflows/{id}/transfer": {"PUT": Operation("transfer", "Move a workflow", body="transfer")},
        "/workflows/{id}/tags": {
            "GET": Operation("get_workflow_tags", "Tags of a workflow"),
            "PUT": Operation("put_workflow_tags", "Set the tags of a workflow", body="tagIds"),
        },
        "/workflows/{id}/{versionId}": {"GET": Operation("get_version", "One version of a workflow")},
        "/users": {"GET": Operation("list_users", "List users", query=(("includeRole", BOOLEAN), *_PAGE))},
        "/variables": {
            "GET": Operation("licensed", "List variables", query=_PAGE, licence=_VARIABLES),
            "POST": Operation("licensed", "Create a variable", licence=_VARIABLES),
        },
        "/projects": {
            "GET": Operation("licensed", "List projects", query=_PAGE, licence=_PROJECTS),
            "POST": Operation("licensed", "Create a project", licence=_PROJECTS),
        },
        "/source-control/pull": {"POST": Operation("source_control", "Pull from the repository")},
    }
    if profile.lists_credentials:
        paths["/credentials"]["GET"] = Operation("list_credentials", "List credentials", query=_PAGE)
        paths["/credentials/{id}"]["GET"] = Operation("get_credential", "One credential")
        paths["/credentials/{id}"]["PATCH"] = Operation(
            "patch_credential", "Change a credential", body="credentialPatch"
        )
    if profile.archives:
        paths["/workflows/{id}/archive"] = {"POST": Operation("archive_workflow", "Archive a workflow")}
        paths["/workflows/{id}/unarchive"] = {"POST": Operation("unarchive_workflow", "Unarchive a workflow")}
    return paths


@lru_cache(maxsize=8)
def components(profile: Profile) -> dict[str, Schema]:
    return {
        "node": node_schema(),
        "workflowSettings": settings_schema(profile),
        "workflow": workflow_schema(profile),
        "tag": TAG,
        "tagIds": TAG_IDS,
        "credential": CREDENTIAL,
        "credentialPatch": CREDENTIAL_PATCH,
        "transfer": TRANSFER,
        "activate": ACTIVATE,
        "auditRequest": {"type": "object", "properties": {"additionalOptions": OBJECT}},
        "error": {"type": "object", "properties": {"message": STRING}},
    }


@lru_cache(maxsize=8)
def openapi(profile: Profile) -> bytes:
    """The document served at ``/api/v1/openapi.yml``."""
    paths: Schema = {}
    for path, methods in operations(profile).items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        entry: Schema = {}
        for method, operation in methods.items():
            described: Schema = {
                "operationId": f"{operation.handler}_{method.lower()}",
                "summary": operation.summary,
                "parameters": [{"name": name, "in": "path", "required": True, "schema": STRING} for name in names]
                + [{"name": name, "in": "query", "required": False, "schema": kind} for name, kind in operation.query],
                "responses": {
                    "200": {"description": "Done."},
                    "401": {"description": "The key is missing or wrong."},
                    "404": {"description": "There is no such thing."},
                },
            }
            if operation.body:
                described["requestBody"] = {
                    "required": operation.body_required,
                    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{operation.body}"}}},
                }
            entry[method.lower()] = described
        paths[path] = entry
    document: Schema = {
        "openapi": "3.0.0",
        "info": {"title": "n8n Public API", "description": "As spoken by the sandbox", "version": "1.1.1"},
        "servers": [{"url": "/api/v1"}],
        "security": [{"ApiKeyAuth": []}],
        "paths": paths,
        "components": {
            "schemas": components(profile),
            "securitySchemes": {"ApiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-N8N-API-KEY"}},
        },
    }
    # Through JSON and back: shared pieces would come out as YAML anchors, which a plain reader may refuse.
    return yaml.safe_dump(orjson.loads(orjson.dumps(document)), sort_keys=False).encode()


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def first_error(value: Any, schema: Schema, schemas: Mapping[str, Schema], at: str = "request/body") -> str | None:
    """The first complaint about `value` in n8n's words, or None. Fills in the defaults of the schema as n8n does."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        complaints = [first_error(value, option, schemas, at) for option in schema["anyOf"]]
        if None in complaints:
            return None
        return ", ".join([*filter(None, complaints), f"{at} must match a schema in anyOf"])
    if value is None and schema.get("nullable"):
        return None
    kind = schema.get("type")
    if kind and not _TYPES[kind](value):
        return f"{at} must be {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} must be equal to one of the allowed values: {', '.join(schema['enum'])}"
    if schema.get("format") == "jsonString" and not _is_json(value):
        return f'{at} must match format "jsonString"'
    if kind == "object":
        return _object_error(value, schema, schemas, at)
    if kind == "array" and "items" in schema:
        for index, item in enumerate(value):
            if complaint := first_error(item, schema["items"], schemas, f"{at}/{index}"):
                return complaint
    return None


def _object_error(value: dict[str, Any], schema: Schema, schemas: Mapping[str, Schema], at: str) -> str | None:
    properties: Schema = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} must have required property '{name}'"
    if schema.get("additionalProperties") is False and any(name not in properties for name in value):
        return f"{at} must NOT have additional properties"
    for name, part in properties.items():
        if name not in value:
            if "default" in part:
                value[name] = part["default"]
            continue
        if part.get("readOnly"):
            return f"{at}/{name} is read-only"
        if complaint := first_error(value[name], part, schemas, f"{at}/{name}"):
            return complaint
    return None


def read_query(query: Mapping[str, str], operation: Operation) -> tuple[dict[str, Any], str | None]:
    """The query string as typed values, and the first complaint about it in n8n's words, or None."""
    known = dict(operation.query)
    values: dict[str, Any] = {}
    for name, text in query.items():
        schema = known.get(name)
        if schema is None:
            return {}, f"Unknown query parameter '{name}'"
        value: Any = text
        if schema["type"] == "number":
            try:
                value = int(float(text))
            except ValueError:
                return {}, f"request/query/{name} must be number"
            if value > schema.get("maximum", value):
                return {}, f"request/query/{name} must be <= {schema['maximum']}"
        elif schema["type"] == "boolean":
            if text not in ("true", "false"):
                return {}, f"request/query/{name} must be boolean"
            value = text == "true"
        elif complaint := first_error(value, schema, {}, f"request/query/{name}"):
            return {}, complaint
        values[name] = value
    return values, None
