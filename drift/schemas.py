"""Drift as the REST API answers it."""

from __future__ import annotations

import uuid
from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict, JsonValue, StrictBool

from core.answers import Answer, FreeForm, PageAnswer
from core.asked import Asked
from core.paging import one_of
from operations.schemas import OperationOut

from .models import DriftKind, Severity
from .selectors import STATES, IncidentFilter

# -- what is asked ----------------------------------------------------------------------------------------------------


class IncidentQuery(Schema):
    """Which incidents are listed; empty: any. ``state``: one of the states, active or all."""

    environment_id: uuid.UUID | None = None
    state: str = ""
    severity: str = ""
    kind: str = ""
    expired: bool = False

    def to_filter(self) -> IncidentFilter:
        """Raises ``Invalid`` for a value that does not exist."""
        state = {"active": "active", "all": ""}.get(self.state, self.state.upper())
        one_of("state", state, STATES)
        one_of("severity", self.severity, Severity.values)
        one_of("kind", self.kind, DriftKind.values)
        return IncidentFilter(
            state=state,
            severity=self.severity,
            environment_id=self.environment_id,
            kind=self.kind,
            expired=self.expired,
        )


class AcknowledgeIn(Asked):
    """``assigned_to``: a member's id or e-mail address; empty: whoever acknowledges."""

    comment: str | None = None
    assigned_to: str | None = None


class StabilizeIn(Asked):
    """``added``: deactivate or delete, for workflows that nobody approved; see ``settling.StabilizeOptions``."""

    comment: str | None = None
    force: StrictBool = False
    added: str | None = None
    despite_upgrade: StrictBool = False


class ReconcileIn(Asked):
    """Without ``update_git`` the drift is accepted as it is until it changes again."""

    comment: str | None = None
    update_git: StrictBool = True
    create_promotion_record: StrictBool = False


class CloseIn(Asked):
    """``resolution_type``: reconciled, stabilized, accepted, false_positive or other."""

    comment: str | None = None
    resolution_type: str | None = None


class ApproveUpgradeIn(Asked):
    comment: str | None = None


# -- what is answered -------------------------------------------------------------------------------------------------


class DiffSummaryOut(Answer):
    """A change in sentences and counts."""

    sentences: list[str]
    sentences_left_out: int
    counts: dict[str, int]
    touches: list[str]


class DiffPartOut(Answer):
    """One value that changed; kept ones may be older than this shape."""

    model_config = ConfigDict(extra="allow")

    path: str = ""
    before: str | None = None
    after: str | None = None


class DiffChangeOut(Answer):
    """One change of a node, a connection or a setting; kept ones may be older than this shape."""

    model_config = ConfigDict(extra="allow")

    kind: str = ""
    what: str = ""
    title: str = ""
    sentence: str = ""
    node: str = ""
    before_node: str = ""
    behaviour: bool = True
    severity: str = ""
    touches: list[str] = []
    parts: list[DiffPartOut] = []
    parts_left_out: int = 0


class DiffOut(Answer):
    """The diff as it was found; the gravest changes, and how many are left out."""

    model_config = ConfigDict(extra="allow")

    status: str = ""
    name: str = ""
    severity: str = ""
    summary: dict[str, int] = {}
    touches: list[str] = []
    sentences: list[str] = []
    changes: list[DiffChangeOut] = []
    left_out: int = 0


class FactDifferenceOut(Answer):
    name: str
    before: JsonValue
    after: JsonValue


class SeenVersionOut(Answer):
    """Which version was seen, and who saved it when, by n8n's word."""

    authors: str
    version_id: str
    at: str


class ExplanationOut(Answer):
    """The upgrade of n8n that made the change."""

    id: uuid.UUID
    versions: str
    rule: str
    breaks: str
    callers: list[str]


class SettlingFailureOut(Answer):
    """Why the last job could not settle it."""

    code: str | None
    message: str | None
    recovery: str | None
    details: FreeForm | None
    at: str
    operation_id: str


class KeptPublishedOut(Answer):
    """Why the last job left it running."""

    callers: list[str]
    at: str
    operation_id: str


class ProofOut(Answer):
    """How it was proven that it is settled."""

    content_hash: str | None
    safety_snapshot_id: uuid.UUID | None = None
    commit: str | None = None
    kept_for: list[str] | None = None


class DriftDetailsOut(Answer):
    """What changed, why it matters and how it was settled; in lists ``diff_summary`` alone."""

    format: int = 1
    diff_summary: DiffSummaryOut
    full_diff: DiffOut = DiffOut()
    git_content_hash: str | None = None
    env_content_hash: str | None = None
    was_active: bool | None = None
    is_active: bool | None = None
    snapshot_id: uuid.UUID | None = None
    commits: dict[str, str | None] = {}
    reasons: list[str] = []
    git_draft_hash: str | None = None
    env_draft_hash: str | None = None
    env_facts: FreeForm | None = None
    details: list[FactDifferenceOut] = []
    by: SeenVersionOut | None = None
    signature: str | None = None
    tolerates: str | None = None
    upgrade: ExplanationOut | None = None
    last_failure: SettlingFailureOut | None = None
    kept: KeptPublishedOut | None = None
    proof: ProofOut | None = None
    promotion_id: uuid.UUID | None = None
    taken_back_at: str | None = None


class IncidentOut(Answer):
    """A drift incident. ``expired``: it stands although its time is over."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    environment_name: str
    workflow_env_map_id: uuid.UUID
    workflow_key: str
    workflow_name: str
    env_workflow_id: str
    kind: str
    severity: str
    incident_state: str
    created_at: datetime
    updated_at: datetime
    last_detected_at: datetime | None
    ttl_expires_at: datetime | None
    expired: bool
    assigned_to: uuid.UUID | None
    comment: str
    resolution_type: str | None
    resolved_by: uuid.UUID | None
    resolved_at: datetime | None
    operation_id: uuid.UUID | None
    upgrade_id: uuid.UUID | None
    git_content_hash: str | None
    env_content_hash: str | None
    drift_snapshot: DriftDetailsOut


class IncidentList(PageAnswer):
    incidents: list[IncidentOut]


class IncidentAnswer(Answer):
    incident: IncidentOut


class SettlingAnswer(Answer):
    """The incident as it is now, and the job that settles it; no job where that had been done before."""

    incident: IncidentOut
    operation: OperationOut | None = None


class JobAnswer(Answer):
    """The job that was started."""

    operation: OperationOut


class StartedSchedulers(Answer):
    """How many tenants' checks were started, how many stay stopped by their own people, and how many schedules."""

    started: int
    left_stopped: int
    schedules: int


class StoppedSchedulers(Answer):
    """How many tenants' checks were stopped now, how many had been stopped before, and how many schedules that is."""

    stopped: int
    already_stopped: int
    schedules: int


class UpgradeChangeOut(Answer):
    """One workflow that differs between the snapshots around an upgrade. ``made_by``: n8n or people."""

    key: str
    name: str
    made_by: str
    rule: str
    effect: str
    sentences: list[str]
    disabled: list[str]
    callers: list[str]
    breaks: str
    before_hash: str | None
    after_hash: str | None
    before_active: bool
    after_active: bool


class UpgradeOut(Answer):
    """An upgrade of an environment's n8n. ``by_n8n`` and ``by_people`` count workflows; lists have no ``changes``."""

    id: uuid.UUID
    environment_id: uuid.UUID
    environment_name: str
    from_version: str
    to_version: str
    noticed_at: datetime
    last_seen_before_at: datetime | None
    before_snapshot_id: uuid.UUID | None
    after_snapshot_id: uuid.UUID | None
    by_n8n: int
    by_people: int
    operation_id: uuid.UUID | None
    changes: list[UpgradeChangeOut] = []


class UpgradeList(PageAnswer):
    upgrades: list[UpgradeOut]


class UpgradeAnswer(Answer):
    upgrade: UpgradeOut
