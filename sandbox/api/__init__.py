"""The public API of one instance: what is asked, and n8n's answer. Pure of HTTP: see `app.py` for the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sandbox.checking import first_error, read_query
from sandbox.schema import FOLDERS, Operation, Profile, operations
from sandbox.shapes import components
from sandbox.state import Instance

from . import about, credentials, data_tables, executions, tags, workflows
from .calls import Answer, Handler, Request, message, reply
from .executions import preflight, webhook

__all__ = ["Answer", "find", "handle", "message", "preflight", "reply", "webhook"]


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
    instance.tick()
    newer = instance.profile.strict and not operation.older
    if not key and not newer:
        return message(401, "'X-N8N-API-KEY' header required")
    if key not in instance.api_keys:
        return message(401, "Unauthorized" if newer else "unauthorized")
    scopes = instance.scopes.get(key)
    if operation.scope and scopes is not None and operation.scope not in scopes:
        return message(403, "Forbidden")
    values, complaint = read_query(query, dict(operation.query), newer=newer)
    if complaint:
        return message(400, complaint)
    if operation.body:
        if operation.body_required and media != "application/json":
            return message(415, f"unsupported media type {media or 'undefined'}")
        if body is not None or operation.body_required:
            schemas = components(instance.profile)
            given = {} if body is None else body
            if complaint := first_error(given, schemas[operation.body], schemas, newer=newer):
                return message(400, complaint)
    if operation.licence and not (operation.licence == FOLDERS and instance.folders):
        return message(
            403,
            f"Your license does not allow for {operation.licence}. To enable {operation.licence}, please upgrade to a"
            " license that supports this feature.",
        )
    return HANDLERS[operation.handler](Request(instance, params, values, body, scopes))


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
