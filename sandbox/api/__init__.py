"""The public API of one instance: what is asked, and n8n's answer. Pure of HTTP: see `app.py` for the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sandbox.checking import Contract, read_query
from sandbox.schema import FOLDERS, Operation, Profile, operations
from sandbox.shapes import components
from sandbox.state import Instance

from . import about, credentials, data_tables, executions, tags, workflows
from .calls import Answer, Handler, Request, message, reply
from .executions import preflight, webhook

__all__ = ["Answer", "Call", "find", "handle", "message", "preflight", "reply", "webhook"]


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


@dataclass(frozen=True, slots=True)
class Call:
    """One call below `/api/v1`: ``key`` is the API key, ``media`` the media type, ``body`` the parsed JSON."""

    method: str
    path: str
    query: Mapping[str, str]
    key: str | None
    media: str | None
    body: Any


def handle(instance: Instance, call: Call) -> Answer:
    """Answer one call as n8n does: path, method, key, query, media type, body, and only then the thing itself."""
    found = find(instance.profile, call.method, call.path)
    if isinstance(found, Answer):
        return found
    operation, params = found
    instance.tick()
    newer = instance.profile.strict and not operation.older
    if refusal := _bad_key(instance, operation, call.key, newer=newer):
        return refusal
    values, complaint = read_query(call.query, dict(operation.query), newer=newer)
    if complaint:
        return message(400, complaint)
    if refusal := _bad_body(instance, operation, call, newer=newer) or _unlicensed(instance, operation):
        return refusal
    scopes = instance.scopes.get(call.key or "")
    return HANDLERS[operation.handler](Request(instance, params, values, call.body, scopes))


def _bad_key(instance: Instance, operation: Operation, key: str | None, *, newer: bool) -> Answer | None:
    if not key and not newer:
        return message(401, "'X-N8N-API-KEY' header required")
    if key not in instance.api_keys:
        return message(401, "Unauthorized" if newer else "unauthorized")
    scopes = instance.scopes.get(key)
    if operation.scope and scopes is not None and operation.scope not in scopes:
        return message(403, "Forbidden")
    return None


def _bad_body(instance: Instance, operation: Operation, call: Call, *, newer: bool) -> Answer | None:
    if not operation.body:
        return None
    if operation.body_required and call.media != "application/json":
        return message(415, f"unsupported media type {call.media or 'undefined'}")
    if call.body is None and not operation.body_required:
        return None
    schemas = components(instance.profile)
    given = {} if call.body is None else call.body
    complaint = Contract(schemas, newer).first_error(given, schemas[operation.body])
    return message(400, complaint) if complaint else None


def _unlicensed(instance: Instance, operation: Operation) -> Answer | None:
    if not operation.licence or (operation.licence == FOLDERS and instance.folders):
        return None
    return message(
        403,
        f"Your license does not allow for {operation.licence}. To enable {operation.licence}, please upgrade to a"
        " license that supports this feature.",
    )


HANDLERS: Mapping[str, Handler] = {
    function.__name__: function
    for function in (
        workflows.list_workflows,
        workflows.create_workflow,
        workflows.get_workflow,
        workflows.get_version,
        workflows.update_workflow,
        workflows.delete_workflow,
        workflows.activate_workflow,
        workflows.deactivate_workflow,
        workflows.list_versions,
        workflows.archive_workflow,
        workflows.unarchive_workflow,
        workflows.transfer,
        workflows.get_workflow_tags,
        workflows.put_workflow_tags,
        tags.list_tags,
        tags.create_tag,
        tags.get_tag,
        tags.update_tag,
        tags.delete_tag,
        credentials.credential_schema,
        credentials.create_credential,
        credentials.list_credentials,
        credentials.get_credential,
        credentials.patch_credential,
        credentials.delete_credential,
        credentials.test_credential,
        executions.list_executions,
        executions.get_execution,
        executions.delete_execution,
        executions.retry_execution,
        executions.stop_execution,
        data_tables.list_data_tables,
        data_tables.create_data_table,
        data_tables.get_data_table,
        data_tables.update_data_table,
        data_tables.delete_data_table,
        data_tables.list_columns,
        data_tables.create_column,
        data_tables.delete_column,
        data_tables.list_rows,
        data_tables.insert_rows,
        about.list_users,
        about.licensed,
        about.source_control,
        about.audit,
        about.discover,
        about.insights,
        about.list_packages,
    )
}
