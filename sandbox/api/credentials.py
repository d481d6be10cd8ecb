"""Credentials: made, listed and taken away; nobody reads their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbox.records import now

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


def _schema_of(kind: str, *, newer: bool) -> dict[str, Any] | None:
    if kind in CREDENTIAL_TYPES:
        names, required = CREDENTIAL_TYPES[kind]
        properties: dict[str, Any] = {
            name: {"type": "notice"} if name in ("notice", "useCustomAuth") else dict(_TEXT) for name in names
        }
        if newer and kind.startswith("http"):
            allowed = {"type": "string", "enum": ["all", "domains", "none"]}
            properties = {**properties, "allowedHttpRequestDomains": allowed, "allowedDomains": dict(_TEXT)}
        return {"additionalProperties": False, "type": "object", "properties": properties, "required": list(required)}
    if _LOOKS_LIKE_A_TYPE.search(kind):
        return {"additionalProperties": True, "type": "object", "properties": {}, "required": []}
    return None


def credential_schema(request: Request) -> Answer:
    schema = _schema_of(request.params["credentialTypeName"], newer=request.instance.profile.strict)
    return reply(schema) if schema else NOT_FOUND


def create_credential(request: Request) -> Answer:
    instance, body = request.instance, request.body
    schema = _schema_of(body["type"], newer=instance.profile.strict)
    if schema is None:
        return message(400, "req.body.type is not a known type")
    for name in body["data"]:
        if not schema["additionalProperties"] and name not in schema["properties"]:
            return message(400, f'request.body.data is not allowed to have the additional property "{name}"')
    for name in schema["required"]:
        if name not in body["data"]:
            return message(400, f'request.body.data requires property "{name}"')
    if body.get("id") in instance.credentials:
        return message(409, "A credential with this ID already exists")
    return reply(instance.add_credential(body))


def list_credentials(request: Request) -> Answer:
    """The newest first, each with whose it is."""
    owner = request.instance.owner
    listed = []
    for record in reversed(request.instance.credentials.values()):
        dates = {"createdAt": record["createdAt"], "updatedAt": record["updatedAt"]}
        name = f"{owner.first_name} {owner.last_name} <{owner.email}>"
        shared = {"id": owner.project_id, "name": name, "role": "credential:owner", **dates}
        listed.append({key: record[key] for key in ("id", "name", "type")} | dates | {"shared": [shared]})
    return page_of(request, listed)


def get_credential(request: Request) -> Answer:
    record = request.instance.credentials.get(request.params["id"])
    return reply(_shown(record)) if record else message(404, "Credential not found")


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "test"}


def patch_credential(request: Request) -> Answer:
    record = request.instance.credentials.get(request.params["id"])
    if record is None:
        return NOT_FOUND
    record |= {key: request.body[key] for key in ("name", "type") if key in request.body}
    record["updatedAt"] = now()
    return reply(_shown(record))


def test_credential(request: Request) -> Answer:
    """What the control API gave it as its outcome; n8n has no test for most types."""
    record = request.instance.credentials.get(request.params["id"])
    if record is None:
        return message(404, f'Credential with ID "{request.params["id"]}" was not found.')
    untested = {"status": "Error", "message": "No testing function found for this credential."}
    return reply(record.get("test") or untested)


def delete_credential(request: Request) -> Answer:
    record = request.instance.credentials.pop(request.params["id"], None)
    if record is None:
        return NOT_FOUND
    shown = _shown(record)
    return reply(shown if request.instance.profile.strict else {k: v for k, v in shown.items() if k != "id"})
