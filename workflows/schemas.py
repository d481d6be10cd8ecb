"""Environments, what is around them and their workflows, as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime

from core.answers import Answer, ErrorOut, PageAnswer
from operations.schemas import OperationOut


class EnvironmentOut(Answer):
    """An environment, never with its key."""

    id: uuid.UUID
    name: str
    slug: str
    kind: str
    base_url: str
    n8n_version: str
    connection_status: str
    position: int
    is_archived: bool
    has_api_key: bool
    last_checked_at: datetime | None
    last_captured_at: datetime | None
    last_capture_error: ErrorOut | None
    last_snapshot_id: uuid.UUID | None
    created_at: datetime


class ChangedEnvironment(EnvironmentOut):
    """``waiting``: changes that another owner has to agree to first, in words."""

    waiting: list[str]


class ChangedEnvironmentAnswer(Answer):
    environment: ChangedEnvironment


class GuardChangeOut(Answer):
    """A change that lowers a guard. ``approved`` is null while it waits for a second owner."""

    id: uuid.UUID
    kind: str
    sentence: str
    environment_id: uuid.UUID | None
    account_id: uuid.UUID | None
    requested_by: uuid.UUID
    created_at: datetime
    expires_at: datetime
    approved: bool | None


class GuardChangeAnswer(Answer):
    guard_change: GuardChangeOut


class ApprovalRulesAnswer(Answer):
    """``approving_accounts``: service accounts whose approval counts."""

    allows_jumps: bool
    approving_accounts: list[uuid.UUID]
    waiting: list[GuardChangeOut]


class EnvironmentCounts(Answer):
    """Workflows of an environment by their state; one may be in several."""

    workflows: int = 0
    drifted: int = 0
    accepted: int = 0
    missing: int = 0
    unmapped: int = 0
    ignored: int = 0
    inactive: int = 0


class CountedEnvironment(EnvironmentOut):
    counts: EnvironmentCounts


class CheckOut(Answer):
    """One step of a connection test. ``state``: ok, failed, warning or skipped."""

    name: str
    title: str
    state: str
    sentence: str
    recovery: str
    code: str


class MissingScopeOut(Answer):
    scope: str
    effect: str


class ConnectionReportOut(Answer):
    """The steps of a connection test. ``latency_ms`` is that of one list call; ``ok``: nothing failed."""

    checks: list[CheckOut]
    version: str
    api_version: str
    latency_ms: float | None
    capabilities: dict[str, bool]
    missing_scopes: list[MissingScopeOut]
    ok: bool


class EnvironmentDetail(CountedEnvironment):
    connection_report: ConnectionReportOut | None


class EnvironmentAnswer(Answer):
    environment: EnvironmentOut


class EnvironmentDetailAnswer(Answer):
    environment: EnvironmentDetail


class EnvironmentList(PageAnswer):
    environments: list[CountedEnvironment]


class ConnectionTestAnswer(Answer):
    """``report`` is null while the test is still under way."""

    operation: OperationOut
    report: ConnectionReportOut | None


class ColumnOut(Answer):
    name: str
    type: str


class DataTableOut(Answer):
    id: str
    name: str
    columns: list[ColumnOut]


class PackageOut(Answer):
    name: str
    version: str
    node_types: list[str]


class SurroundingsOut(Answer):
    """Null is *not known*; ``why`` gives the reason by field. ``variables`` are names only."""

    data_tables: list[DataTableOut] | None
    variables: list[str] | None
    packages: list[PackageOut] | None
    scopes: list[str] | None
    settings: list[str] | None
    lists_credentials: bool
    creates_credentials: bool
    checks_structure: bool
    why: dict[str, str]
    read_at: datetime | None
    reached: bool


class KnownCredentialOut(Answer):
    """``known_from``: seen, listed or entered. ``test``: proven, untestable, failing or not_tested."""

    id: str
    name: str
    type: str
    also_named: list[str]
    known_from: str
    uses: int
    is_gone: bool
    needs_secret: bool
    test: str


class SurroundingsAnswer(Answer):
    surroundings: SurroundingsOut
    credentials: list[KnownCredentialOut]


class LiveVersionOut(Answer):
    """The version that n8n runs; ``saved_at`` is when its content was saved (ISO 8601)."""

    version_id: str
    authors: str = ""
    name: str = ""
    saved_at: str = ""


class WorkflowOut(Answer):
    """A workflow of an environment. ``git_content_hash`` is of what is approved, null where nothing is.

    ``drifted`` is false where a person has accepted the difference: ``accepted_since`` says when; it holds until the
    workflow changes again.
    """

    id: str
    key: str | None
    name: str
    active: bool | None
    status: str
    content_hash: str | None
    git_content_hash: str | None
    drifted: bool
    accepted_since: datetime | None
    node_count: int
    tags: list[str]


class LiveWorkflow(WorkflowOut):
    """As n8n has just listed it. ``readable`` false: its content could not be understood."""

    updated_at: str | None
    version_id: str | None
    readable: bool


class StoredWorkflow(WorkflowOut):
    """As the last capture saw it."""

    archived: bool
    draft: bool
    live_version: LiveVersionOut | None
    draft_authors: str | None
    updated_at: datetime | None
    last_seen_at: datetime | None


class WorkflowList(Answer):
    """Workflows as of a moment; null: never captured."""

    environment_id: uuid.UUID
    as_of: datetime | None
    workflows: list[LiveWorkflow] | list[StoredWorkflow]
