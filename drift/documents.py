"""What an incident holds beside its columns, and the parameters of a job about incidents: typed, versioned documents.

``details_from`` is the one place that reads what is stored, whatever version of the console wrote it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

DETAILS_FORMAT = 1


class DiffSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A change in sentences and counts. ``touches`` names what makes it grave: credentials, trigger, code …"""

    sentences: list[str] = []
    sentences_left_out: int = 0
    counts: dict[str, int] = {}
    touches: list[str] = []


class FactDifference(msgspec.Struct, frozen=True):
    """A fact of a workflow (archived, tags, folder, a setting) that is not as approved."""

    name: str
    before: Any = None
    after: Any = None


class SeenVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which version was seen, and who saved it when (ISO 8601), by n8n's word."""

    authors: str = ""
    version_id: str = ""
    at: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The upgrade of n8n that made the change: its id and versions, the rule, what putting it back breaks."""

    id: str
    versions: str = ""
    rule: str = ""
    breaks: str = ""
    callers: list[str] = []


class SettlingFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last job could not settle it; ``at`` is ISO 8601."""

    code: str | None = None
    message: str | None = None
    recovery: str | None = None
    details: dict[str, Any] | None = None
    at: str = ""
    operation_id: str = ""


class KeptPublished(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last job left it running: names of what calls it. ``at`` is ISO 8601."""

    callers: list[str] = []
    at: str = ""
    operation_id: str = ""


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How it was proven that it is settled: the hash that was read back, and the safety snapshot or the commit."""

    content_hash: str | None
    safety_snapshot_id: str | None = None
    commit: str | None = None
    kept_for: list[str] | None = None


class DriftDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``DriftIncident.drift_snapshot`` holds.

    Hashes are None where there is nothing on that side. ``full_diff`` is a ``workflows.diff`` document, bounded.
    ``signature`` is equal where the drift is the same one, seen again; empty while it could not be described.
    ``tolerates`` is the signature that is not reported again. ``was_active`` is as approved, ``is_active`` as seen.
    """

    format: int
    diff_summary: DiffSummary
    full_diff: dict[str, Any]
    git_content_hash: str | None
    env_content_hash: str | None
    was_active: bool | None
    is_active: bool | None
    snapshot_id: str | None
    commits: dict[str, str | None]
    reasons: list[str]
    git_draft_hash: str | None
    env_draft_hash: str | None
    env_facts: dict[str, Any] | None
    details: list[FactDifference]
    by: SeenVersion | None
    signature: str | None
    tolerates: str | None = None
    upgrade: Explanation | None = None
    last_failure: SettlingFailure | None = None
    kept: KeptPublished | None = None
    proof: Proof | None = None
    promotion_id: str | None = None
    taken_back_at: str | None = None

    @property
    def is_archived(self) -> bool:
        """Whether it was archived, of an incident about that."""
        return any(fact.name == "archived" and fact.after for fact in self.details)

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


#: What documents of older consoles, or of a person's own making, may lack.
_MISSING: Mapping[str, Any] = {
    "format": DETAILS_FORMAT,
    "diff_summary": {},
    "full_diff": {},
    "git_content_hash": None,
    "env_content_hash": None,
    "was_active": None,
    "is_active": None,
    "snapshot_id": None,
    "commits": {},
    "reasons": [],
    "git_draft_hash": None,
    "env_draft_hash": None,
    "env_facts": None,
    "details": [],
    "by": None,
    "signature": None,
}


def details_from(stored: Mapping[str, Any] | None) -> DriftDetails:
    """The details of an incident, of any version. What cannot be read at all is described so."""
    present = {name: value for name, value in (stored or {}).items() if value is not None}
    try:
        return msgspec.convert({**_MISSING, **present}, DriftDetails, strict=False)
    except msgspec.ValidationError as error:
        logger.warning("the details of an incident cannot be read: %s", error)
        unreadable = DiffSummary(sentences=["What changed is on record in a form that cannot be read."])
        return msgspec.convert({**_MISSING, "diff_summary": msgspec.to_builtins(unreadable)}, DriftDetails)


class SettlingItem(msgspec.Struct, frozen=True, kw_only=True):
    """One incident as the person saw it, in the parameters of a job.

    ``expected_hash`` is its content, ``expected_active`` whether it was published, ``expected_facts`` its facts, and
    ``expected_draft`` its draft where that is what drifted. ``by_upgrade``: n8n itself made the change, and a person
    wants it put back in spite of what that breaks.
    """

    id: str
    map_id: str
    key: str
    name: str
    kind: str
    expected_hash: str | None = None
    expected_active: bool | None = None
    expected_draft: str | None = None
    expected_facts: dict[str, Any] | None = None
    by_upgrade: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incident that a job could not settle, and why: a line of its result, or of its error."""

    incident_id: str
    key: str
    name: str
    code: str = ""
    message: str = ""
    recovery: str = ""
    details: dict[str, Any] = {}


class BlockingIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that stops a promotion. ``reason``: ttl_expired or active_drift. Times are ISO 8601."""

    id: str
    incident_id: str
    workflow_key: str
    workflow_name: str
    environment_id: str
    environment_name: str
    kind: str
    severity: str
    incident_state: str
    created_at: str
    ttl_expires_at: str | None
    expired: bool
    reason: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """As the gates of promotions keep it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
