"""The shapes of what an instance takes, as JSON Schema, by profile."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .profiles import Profile

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
DATE: Schema = {"type": "string", "format": "date-time", "readOnly": True}


def _read_only(schema: Schema) -> Schema:
    return {**schema, "readOnly": True}


def _closed(properties: Schema, *required: str) -> Schema:
    shape: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**shape, "required": list(required)} if required else shape


def node_schema() -> Schema:
    return _closed(
        {
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
        }
    )


NODE_GROUP = _closed(
    {
        "id": STRING,
        "name": STRING,
        "description": {"type": "string", "maxLength": 155},
        "nodeIds": {"type": "array", "items": STRING},
    },
    "id",
    "name",
    "nodeIds",
)
TELEMETRY_TAG = _closed({"key": STRING, "value": STRING}, "key", "value")
#: Taken without a word, and not kept.
IGNORED_SETTINGS = ("binaryMode", "redactionPolicy", "credentialResolverId")


def settings_schema(profile: Profile) -> Schema:
    kept = {"type": "string", "enum": ["all", "none"]}
    policies = ["any", "none", "workflowsFromAList", "workflowsFromSameOwner"]
    properties: Schema = {
        "saveExecutionProgress": BOOLEAN,
        "saveManualExecutions": BOOLEAN,
        "saveDataErrorExecution": kept,
        "saveDataSuccessExecution": kept,
        "executionTimeout": NUMBER,
        "errorWorkflow": STRING,
        "timezone": STRING,
        "executionOrder": STRING,
        "callerPolicy": {"type": "string", "enum": policies, "default": "workflowsFromSameOwner"},
        "callerIds": STRING,
        "timeSavedPerExecution": NUMBER,
        "availableInMCP": {"type": "boolean", "default": False},
    }
    if profile.has_folders:
        properties["binaryMode"] = {"type": "string", "enum": ["separate", "combined"]}
    if profile.strict:
        properties |= {
            "callerPolicy": {"type": "string", "enum": policies},
            "availableInMCP": BOOLEAN,
            "timeSavedMode": {"type": "string", "enum": ["fixed", "dynamic"]},
            "redactionPolicy": {"type": "string", "enum": ["none", "non-manual", "manual-only", "all"]},
            "customTelemetryTags": {"type": "array", "items": TELEMETRY_TAG},
            "credentialResolverId": STRING,
        }
    return _closed(properties)


def workflow_schema(profile: Profile) -> Schema:
    """What PUT takes, and POST where the two do not differ."""
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
    if profile.archives:
        properties["pinData"] = {"type": "object", "nullable": True}
    if profile.has_folders:
        properties["description"] = STRING if profile.strict else {"type": "string", "nullable": True}
    if profile.has_node_groups:
        properties["nodeGroups"] = {"type": "array", "items": NODE_GROUP}
    if profile.strict:
        properties |= {
            "isArchived": _read_only(BOOLEAN),
            "versionId": _read_only(STRING),
            "triggerCount": _read_only({"type": "integer"}),
            "meta": _read_only({"type": "object", "nullable": True}),
            "parentFolderId": {"type": "string", "nullable": True},
        }
    return _closed(properties, "name", "nodes", "connections", "settings")


def new_workflow_schema(profile: Profile) -> Schema:
    """What POST takes."""
    shape = workflow_schema(profile)
    properties = dict(shape["properties"])
    if profile.has_folders:
        properties["projectId"] = STRING
    if profile.strict:
        del properties["description"]
    return {**shape, "properties": properties}


TAG = _closed({"id": _read_only(STRING), "name": STRING, "createdAt": DATE, "updatedAt": DATE}, "name")
TAG_IDS: Schema = {"type": "array", "items": _closed({"id": STRING}, "id")}
CREDENTIAL: Schema = {
    "type": "object",
    "required": ["name", "type", "data"],
    "properties": {"id": _read_only(STRING), "name": STRING, "type": STRING, "data": {**OBJECT, "writeOnly": True}},
}
CREDENTIAL_WITH_ID: Schema = {**CREDENTIAL, "properties": {**CREDENTIAL["properties"], "id": STRING}}
TRANSFER: Schema = {
    "type": "object",
    "required": ["destinationProjectId"],
    "properties": {"destinationProjectId": STRING},
}
COLUMN_NAME: Schema = {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]*$"}
COLUMN = _closed(
    {"name": COLUMN_NAME, "type": {"type": "string", "enum": ["string", "number", "boolean", "date"]}}, "name", "type"
)


@lru_cache(maxsize=16)
def components(profile: Profile) -> dict[str, Schema]:
    """The named shapes of the document."""
    return {
        "node": node_schema(),
        "workflowSettings": settings_schema(profile),
        "workflow": workflow_schema(profile),
        "newWorkflow": new_workflow_schema(profile),
        "tag": TAG,
        "tagIds": TAG_IDS,
        "credential": CREDENTIAL_WITH_ID if profile.strict else CREDENTIAL,
        "credentialPatch": {"type": "object", "properties": CREDENTIAL["properties"]},
        "transfer": TRANSFER,
        "activate": {"type": "object", "properties": {"versionId": STRING, "name": STRING, "description": STRING}},
        "auditRequest": {"type": "object", "properties": {"additionalOptions": OBJECT}},
        "retry": {"type": "object", "properties": {"loadWorkflow": BOOLEAN}},
        "createDataTableRequest": _closed(
            {"name": STRING, "columns": {"type": "array", "items": COLUMN}, "projectId": STRING}, "name", "columns"
        ),
        "updateDataTableRequest": _closed({"name": STRING}, "name"),
        "createColumnRequest": COLUMN,
        "insertRowsRequest": _closed(
            {
                "data": {"type": "array", "items": OBJECT},
                "returnType": {"type": "string", "enum": ["count", "id", "all"]},
            },
            "data",
        ),
        "error": {"type": "object", "properties": {"message": STRING}},
    }
