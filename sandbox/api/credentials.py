"""Credentials: made, listed and taken away; nobody reads their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbox.records import new_id, now

from .calls import NOT_FOUND, Answer, Request, message, page_of, reply

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
    return page_of(request, list(request.instance.credentials.values()))


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
