"""What differs between versions in the answers to the suite's questions: one field for each rule, one column for each
version that is asked. A rule that is the same everywhere stands in its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

DEFAULT_SETTINGS = {"callerPolicy": "workflowsFromSameOwner", "availableInMCP": False}
NO_TRIGGER = (
    "Workflow cannot be activated because it has no trigger node."
    " At least one trigger, webhook, or polling node is required."
)
NOT_YOURS = "You do not have permission to {} this workflow. Ask the owner to share it with you."


@dataclass(frozen=True)
class Rules:
    """The expectations of one version."""

    # Words
    wrong_key: str = "unauthorized"
    unknown_workflow: str = "Not Found"  # where there is a verb to name, it is put into {}
    no_trigger: str = 'Workflow "Idle" (ID: {}) has no node to start the workflow'
    unknown_key: str = "request/body{} must NOT have additional properties"
    wrong_type: str = "request/body{} must be {}"
    lacks_connections: str = "request/body must have required property 'connections'"
    # The contract
    id_in_paths: str = "id"
    has_pin_data_in_writes: bool = False
    lists_credentials: bool = False
    # Queries
    limit_is_capped: bool = False
    ignores_unknown_queries: bool = False
    bad_limit: str = "request/query/limit must be number"
    bad_boolean: str = "request/query/active must be boolean"
    # Content
    settings_on_create: Mapping[str, object] | None = None
    names_are_checked: bool = False
    structure_is_checked: bool = False
    identical_put_keeps_version: bool = False
    names_people_in_workflows: bool = True
    gives_webhook_ids: bool = False
    # Publishing
    callees_must_be_published: bool = False
    subworkflows_are_published: bool = False
    publishes_later: bool = False
    #: What a PUT does that is written and then refused: "switches off", "breaks" or "keeps" what runs.
    refused_put: str = "switches off"
    taken_webhook_is_refused: bool = False
    has_drafts: bool = False
    stages: bool = False
    # Around
    unknown_project: tuple[int, str] = (400, "Could not find project")
    basic_auth_fields: frozenset[str] = frozenset({"user", "password"})


_OLDEST = Rules(settings_on_create=DEFAULT_SETTINGS)
_DRAFTS = replace(
    _OLDEST,
    no_trigger=NO_TRIGGER,
    identical_put_keeps_version=True,
    has_drafts=True,
    subworkflows_are_published=True,
    refused_put="breaks",
)
_NEWEST = replace(
    _DRAFTS,
    wrong_key="Unauthorized",
    unknown_workflow=NOT_YOURS,
    unknown_key="request/body{} Unrecognized key(s) in object: 'surprise'",
    wrong_type="request/body{} Expected {}, received",
    lacks_connections="request/body/connections must be object",
    id_in_paths="workflowId",
    has_pin_data_in_writes=True,
    lists_credentials=True,
    limit_is_capped=True,
    ignores_unknown_queries=True,
    bad_limit="request/query/limit Param `limit` must be a valid integer",
    bad_boolean="request/query/active Invalid enum value. Expected 'true' | 'false', received 'maybe'",
    settings_on_create={},
    names_are_checked=True,
    structure_is_checked=True,
    names_people_in_workflows=False,
    gives_webhook_ids=True,
    callees_must_be_published=True,
    publishes_later=True,
    refused_put="keeps",
    taken_webhook_is_refused=True,
    stages=True,
    unknown_project=(404, ""),
    basic_auth_fields=frozenset({"user", "password", "allowedHttpRequestDomains", "allowedDomains"}),
)

#: By the sandbox's profile.
RULES: Mapping[str, Rules] = {"1.123": _OLDEST, "2.0": _DRAFTS, "2.41": _NEWEST}
#: The real version that answers for a profile.
VERSIONS: Mapping[str, str] = {"1.123": "1.123.0", "2.0": "2.0.3", "2.41": "2.41.1"}
