"""The contract of one instance: its calls, and the OpenAPI document that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import yaml

from .profiles import DEFAULT_PROFILE, PROFILES, Profile
from .shapes import BOOLEAN, STRING, Schema, components

__all__ = ["DEFAULT_PROFILE", "MAX_PAGE", "PROFILES", "Operation", "Profile", "openapi", "operations", "spelt"]

MAX_PAGE = 250
_FINISHED = ("canceled", "error", "running", "success", "waiting")
_NEWER = ("canceled", "crashed", "error", "new", "running", "success", "unknown", "waiting")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API: what the router looks up and the document describes.

    ``older``: it refuses with the older error messages, also where the profile has newer ones.
    """

    handler: str
    summary: str
    scope: str | None = None
    query: tuple[tuple[str, Schema], ...] = ()
    body: str | None = None
    body_required: bool = True
    licence: str | None = None
    older: bool = False


_PAGE: tuple[tuple[str, Schema], ...] = (
    ("limit", {"type": "number", "default": 100, "maximum": MAX_PAGE}),
    ("cursor", STRING),
)
_NO_PIN = (("excludePinnedData", BOOLEAN),)
_VARIABLES, _PROJECTS, FOLDERS = "feat:variables", "feat:projectRole:admin", "feat:folders"
Paths = dict[str, dict[str, Operation]]


@lru_cache(maxsize=16)
def operations(profile: Profile) -> Paths:
    """Path template -> method -> operation. Ids are called `{id}` here, however the document spells them."""
    paths = _workflows(profile) | _around(profile)
    for path, methods in (_credentials(profile) | _executions(profile)).items():
        paths[path] = paths.get(path, {}) | methods
    if profile.has_data_tables:
        paths |= _data_tables()
    return paths


def _workflows(profile: Profile) -> Paths:
    listing = (("active", BOOLEAN), ("tags", STRING), ("name", STRING), ("projectId", STRING), *_NO_PIN, *_PAGE)
    takes_version = {"body": "activate" if profile.has_drafts else None, "body_required": False}
    new = "newWorkflow" if profile.has_folders else "workflow"
    staging = (("publishIfActive", BOOLEAN),) if profile.stages else ()
    paths: Paths = {
        "/workflows": {
            "GET": Operation("list_workflows", "List workflows, whole", "workflow:list", query=listing),
            "POST": Operation("create_workflow", "Create a workflow", "workflow:create", body=new),
        },
        "/workflows/{id}": {
            "GET": Operation("get_workflow", "One workflow", "workflow:read", query=_NO_PIN),
            "PUT": Operation(
                "update_workflow", "Replace a workflow", "workflow:update", query=staging, body="workflow"
            ),
            "DELETE": Operation("delete_workflow", "Delete a workflow", "workflow:delete"),
        },
        "/workflows/{id}/activate": {
            "POST": Operation("activate_workflow", "Activate a workflow", "workflow:activate", **takes_version)  # type: ignore[arg-type]
        },
        "/workflows/{id}/deactivate": {
            "POST": Operation("deactivate_workflow", "Deactivate a workflow", "workflow:deactivate")
        },
        "/workflows/{id}/transfer": {"PUT": Operation("transfer", "Move a workflow", "workflow:move", body="transfer")},
        "/workflows/{id}/tags": {
            "GET": Operation("get_workflow_tags", "Tags of a workflow", "workflowTags:list"),
            "PUT": Operation("put_workflow_tags", "Set a workflow's tags", "workflowTags:update", body="tagIds"),
        },
        "/workflows/{id}/{versionId}": {"GET": Operation("get_version", "One version of a workflow", "workflow:read")},
    }
    if profile.archives:
        for verb in ("archive", "unarchive"):
            paths[f"/workflows/{{id}}/{verb}"] = {
                "POST": Operation(f"{verb}_workflow", f"{verb.title()} a workflow", "workflow:delete")
            }
    if profile.stages:
        paths["/workflows/{id}/publish"] = {
            "POST": Operation("activate_workflow", "Publish a version", "workflow:activate", **takes_version)  # type: ignore[arg-type]
        }
        paths["/workflows/{id}/unpublish"] = {
            "POST": Operation("deactivate_workflow", "Unpublish a workflow", "workflow:deactivate")
        }
        paths["/workflows/{id}/history"] = {
            "GET": Operation("list_versions", "Versions of a workflow", "workflow:read", query=_PAGE)
        }
        paths["/workflows/{id}/versions/{versionId}"] = {
            "GET": Operation("get_version", "One version of a workflow", "workflow:read")
        }
    return paths


def _credentials(profile: Profile) -> Paths:
    paths: Paths = {
        "/credentials": {
            "POST": Operation("create_credential", "Create a credential", "credential:create", body="credential")
        },
        "/credentials/{id}": {"DELETE": Operation("delete_credential", "Delete a credential", "credential:delete")},
        "/credentials/schema/{credentialTypeName}": {
            "GET": Operation("credential_schema", "Fields of a credential type")
        },
        "/credentials/{id}/transfer": {
            "PUT": Operation("transfer", "Move a credential", "credential:move", body="transfer")
        },
    }
    one = paths["/credentials/{id}"]
    if profile.lists_credentials:
        paths["/credentials"]["GET"] = Operation("list_credentials", "List credentials", "credential:list", query=_PAGE)
        one["PATCH"] = Operation("patch_credential", "Change a credential", "credential:update", body="credentialPatch")
    if profile.has_folders:
        one["GET"] = Operation("get_credential", "One credential", "credential:read")
        paths["/credentials/{id}/test"] = {"POST": Operation("test_credential", "Test a credential", "credential:read")}
    return paths


def _executions(profile: Profile) -> Paths:
    status: Schema = {"type": "string", "enum": list(_NEWER if profile.strict else _FINISHED)}
    runs = (("includeData", BOOLEAN), ("status", status), ("workflowId", STRING), ("projectId", STRING), *_PAGE)
    if profile.strict:
        runs = (*runs, ("startedAfter", STRING), ("startedBefore", STRING))
    paths: Paths = {
        "/executions": {"GET": Operation("list_executions", "List executions", "execution:list", query=runs)},
        "/executions/{id}": {
            "GET": Operation("get_execution", "One execution", "execution:read", query=(("includeData", BOOLEAN),)),
            "DELETE": Operation("delete_execution", "Delete an execution", "execution:delete"),
        },
        "/executions/{id}/retry": {
            "POST": Operation(
                "retry_execution", "Retry an execution", "execution:retry", body="retry", body_required=False
            )
        },
    }
    if profile.stops_executions:
        paths["/executions/{id}/stop"] = {"POST": Operation("stop_execution", "Stop an execution", "execution:stop")}
    return paths


def _data_tables() -> Paths:
    def call(handler: str, summary: str, scope: str, **more: Any) -> Operation:
        return Operation(handler, summary, scope, older=True, **more)

    return {
        "/data-tables": {
            "GET": call("list_data_tables", "List data tables", "dataTable:list", query=_PAGE),
            "POST": call("create_data_table", "Create a data table", "dataTable:create", body="createDataTableRequest"),
        },
        "/data-tables/{id}": {
            "GET": call("get_data_table", "One data table", "dataTable:read"),
            "PATCH": call(
                "update_data_table", "Rename a data table", "dataTable:update", body="updateDataTableRequest"
            ),
            "DELETE": call("delete_data_table", "Delete a data table", "dataTable:delete"),
        },
        "/data-tables/{id}/columns": {
            "GET": call("list_columns", "Columns of a data table", "dataTableColumn:read"),
            "POST": call("create_column", "Add a column", "dataTableColumn:create", body="createColumnRequest"),
        },
        "/data-tables/{id}/columns/{columnId}": {
            "DELETE": call("delete_column", "Delete a column", "dataTableColumn:delete")
        },
        "/data-tables/{id}/rows": {
            "GET": call("list_rows", "Rows of a data table", "dataTableRow:read", query=_PAGE),
            "POST": call("insert_rows", "Insert rows", "dataTableRow:create", body="insertRowsRequest"),
        },
        "/community-packages": {"GET": call("list_packages", "Installed community packages", "communityPackage:list")},
    }


def _around(profile: Profile) -> Paths:
    people = (("includeRole", BOOLEAN), *_PAGE)
    paths: Paths = {
        "/audit": {
            "POST": Operation(
                "audit", "Generate a risk report", "securityAudit:generate", body="auditRequest", body_required=False
            )
        },
        "/tags": {
            "GET": Operation("list_tags", "List tags", "tag:list", query=_PAGE),
            "POST": Operation("create_tag", "Create a tag", "tag:create", body="tag"),
        },
        "/tags/{id}": {
            "GET": Operation("get_tag", "One tag", "tag:read"),
            "PUT": Operation("update_tag", "Rename a tag", "tag:update", body="tag"),
            "DELETE": Operation("delete_tag", "Delete a tag", "tag:delete"),
        },
        "/users": {"GET": Operation("list_users", "List users", "user:list", query=people)},
        "/variables": {
            "GET": Operation("licensed", "List variables", "variable:list", query=_PAGE, licence=_VARIABLES),
            "POST": Operation("licensed", "Create a variable", "variable:create", licence=_VARIABLES),
        },
        "/projects": {
            "GET": Operation("licensed", "List projects", "project:list", query=_PAGE, licence=_PROJECTS),
            "POST": Operation("licensed", "Create a project", "project:create", licence=_PROJECTS),
        },
        "/source-control/pull": {"POST": Operation("source_control", "Pull from the repository", "sourceControl:pull")},
    }
    if profile.archives:
        paths["/discover"] = {"GET": Operation("discover", "What this key may do")}
    if profile.has_folders:
        paths["/projects/{projectId}/folders"] = {
            "GET": Operation("licensed", "List folders", "folder:list", licence=FOLDERS),
            "POST": Operation("licensed", "Create a folder", "folder:create", licence=FOLDERS),
        }
        paths["/insights/summary"] = {"GET": Operation("insights", "Runs and failures", "insights:read")}
    return paths


def spelt(profile: Profile, path: str) -> str:
    """A path as the document of this version spells it."""
    if not profile.strict or path == "/workflows/{id}/{versionId}":
        return path
    kind = path.split("/")[1]
    word = {"workflows": "workflowId", "credentials": "credentialId", "executions": "executionId", "tags": "tagId"}
    word["data-tables"] = "dataTableId"
    path = path.replace("{id}", f"{{{word.get(kind, 'id')}}}")
    return path.replace("{versionId}", "{workflowVersionId}")


def _spelt_query(profile: Profile, kind: Schema) -> Schema:
    return {"type": "string", "enum": ["true", "false"]} if profile.strict and kind == BOOLEAN else kind


def _body(profile: Profile, operation: Operation) -> Schema:
    """The schema of a body: by reference, or in place where the newer calls describe theirs so."""
    reference: Schema = {"$ref": f"#/components/schemas/{operation.body}"}
    if not profile.strict or operation.older:
        return reference
    named = components(profile)

    def expand(value: Any) -> Any:
        if isinstance(value, Mapping):
            if "$ref" in value:
                return expand(named[str(value["$ref"]).rpartition("/")[2]])
            return {key: expand(item) for key, item in value.items()}
        return [expand(item) for item in value] if isinstance(value, list) else value

    return dict(expand(reference))


@lru_cache(maxsize=16)
def openapi(profile: Profile) -> bytes:
    """The document served at ``/api/v1/openapi.yml``."""
    paths: Schema = {}
    for plain, methods in operations(profile).items():
        path = spelt(profile, plain)
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        entry: Schema = {}
        for method, operation in methods.items():
            described: Schema = {
                "operationId": f"{operation.handler}_{method.lower()}",
                "summary": operation.summary,
                "parameters": [{"name": name, "in": "path", "required": True, "schema": STRING} for name in names]
                + [
                    {"name": name, "in": "query", "required": False, "schema": _spelt_query(profile, kind)}
                    for name, kind in operation.query
                ],
                "responses": {
                    "200": {"description": "Done."},
                    "401": {"description": "The key is missing or wrong."},
                    "404": {"description": "There is no such thing."},
                },
            }
            if operation.scope and profile.archives:
                described["x-required-scope"] = operation.scope
            if operation.body:
                described["requestBody"] = {
                    "required": operation.body_required,
                    "content": {"application/json": {"schema": _body(profile, operation)}},
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
