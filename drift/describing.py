"""From two contents to what an incident holds: sentences, counts, a bounded diff, the grade and why. Pure."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from workflows.content import LiveVersion
from workflows.diff import WorkflowDiff, diff_workflows
from workflows.facts import FactChange

from .documents import DETAILS_FORMAT, DiffSummary, DriftDetails, FactDifference, SeenVersion
from .models import DriftKind, aspect_of
from .severity import Grade, grade

Subject = tuple[Any, str]
"""The id of a mapping, and an aspect of its workflow."""
DIFF_BYTES = 200_000
SENTENCES_KEPT = 40


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One aspect of a workflow that is not as approved. Hashes are None where there is nothing on that side.

    ``git_draft`` and ``env_draft`` are hashes of drafts beside what runs; ``details`` are the facts that changed, and
    ``env_facts`` all of them as seen.
    ``live`` says which version was seen and whose it is: the one that runs, or the draft's.
    """

    map_id: Any
    key: str
    name: str
    kind: str
    git_hash: str | None
    env_hash: str | None
    was_active: bool
    is_active: bool
    git_draft: str | None = None
    env_draft: str | None = None
    details: tuple[FactChange, ...] = ()
    env_facts: Mapping[str, Any] | None = None
    live: LiveVersion | None = None

    @property
    def aspect(self) -> str:
        """Which of the incidents of the workflow it is."""
        return str(aspect_of(self.kind))

    @property
    def subject(self) -> Subject:
        """What there is one standing incident of: the mapping and the aspect."""
        return self.map_id, self.aspect

    @property
    def signature(self) -> str:
        """Equal where the drift is the same one, seen again."""
        if self.kind == DriftKind.DRAFT:
            return signature(self.kind, self.git_draft, self.env_draft, self.is_active)
        if self.kind in (DriftKind.DETAILS, DriftKind.ARCHIVED):
            facts = [[change.name, change.before, change.after] for change in self.details]
            return signature(self.kind, None, json.dumps(facts, sort_keys=True), self.is_active)
        return signature(self.kind, self.git_hash, self.env_hash, self.is_active)

    @property
    def drifted_hash(self) -> str:
        """The hash of what drifted, as seen."""
        return (self.env_draft if self.kind == DriftKind.DRAFT else self.env_hash) or ""


def signature(kind: str, git_hash: str | None, env_hash: str | None, is_active: bool) -> str:
    """A short name for one state of drift."""
    facts = orjson.dumps([str(kind), git_hash, env_hash, is_active, ""])
    return hashlib.sha256(facts).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Described:
    """What goes into an incident."""

    finding: DriftFinding
    grade: Grade
    details: DriftDetails
    upgrade_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Where findings were seen: the environment's kind, the snapshot, the commits, and keys by n8n id."""

    environment_kind: str
    snapshot_id: str | None
    commits: Mapping[str, str | None]
    keys: Mapping[str, str]


def describe(
    finding: DriftFinding, sighting: Sighting, *, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Described:
    """Say what happened to one workflow. A side that should be there and could not be read is named, not guessed."""
    unread = "" if finding.details else _unread(finding, before, after)
    diff = None
    if not unread and not finding.details:
        diff = diff_workflows(before, after, before_keys=sighting.keys, after_keys=sighting.keys)
    summary = _summary([unread] if unread else _sentences(finding, diff), diff)
    judged = grade(
        kind=finding.kind,
        environment_kind=sighting.environment_kind,
        was_active=finding.was_active,
        is_active=finding.is_active,
        touches=summary.touches,
        counts={name: count for name, count in summary.counts.items() if name != "active_changed"},
        settings_changed=any(change.kind == "setting" for change in finding.details),
    )
    details = DriftDetails(
        format=DETAILS_FORMAT,
        diff_summary=summary,
        full_diff=bounded(diff),
        git_content_hash=finding.git_hash,
        env_content_hash=finding.env_hash,
        was_active=finding.was_active,
        is_active=finding.is_active,
        snapshot_id=sighting.snapshot_id,
        commits=dict(sighting.commits),
        reasons=list(judged.reasons),
        git_draft_hash=finding.git_draft,
        env_draft_hash=finding.env_draft,
        env_facts=dict(finding.env_facts) if finding.env_facts is not None else None,
        details=[FactDifference(change.name, change.before, change.after) for change in finding.details],
        by=_seen_version(finding.live),
        # What could not be read is described again at the next look.
        signature="" if unread else finding.signature,
    )
    return Described(finding, judged, details)


def _summary(sentences: Sequence[str], diff: WorkflowDiff | None) -> DiffSummary:
    return DiffSummary(
        sentences=list(sentences[:SENTENCES_KEPT]),
        sentences_left_out=max(len(sentences) - SENTENCES_KEPT, 0),
        counts=dict(diff.summary) if diff is not None else {},
        touches=sorted(set(diff.touches) | _callers(diff)) if diff is not None else [],
    )


def _seen_version(live: LiveVersion | None) -> SeenVersion | None:
    if live is None:
        return None
    return SeenVersion(authors=live.authors, version_id=live.version_id, at=live.saved_at)


def _unread(finding: DriftFinding, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if finding.kind != DriftKind.ADDED and before is None:
        return "The approved content could not be read from Git, so the change cannot be described yet."
    if finding.kind != DriftKind.REMOVED and after is None:
        return "The content that was seen could not be read from Git, so the change cannot be described yet."
    return ""


def _sentences(finding: DriftFinding, diff: WorkflowDiff | None) -> list[str]:
    changes = list(diff.sentences) if diff is not None else []
    match finding.kind:
        case DriftKind.ARCHIVED:
            return [*(change.sentence for change in finding.details), *_archiving(finding)]
        case DriftKind.DETAILS:
            return [change.sentence for change in finding.details]
        case DriftKind.ACTIVATION:
            return [f"The workflow was {'published' if finding.is_active else 'unpublished'}."]
        case DriftKind.ADDED:
            return [f"“{finding.name}” appeared; nobody approved it.", *changes[1:]]
        case DriftKind.REMOVED:
            return [f"“{finding.name}” is approved, but no longer there."]
        case DriftKind.DRAFT if finding.env_draft is None:
            return ["The approved draft is gone; the editor holds what runs.", *changes]
        case DriftKind.DRAFT:
            return ["Only the draft in the editor differs; what runs is not touched by it.", *changes]
        case _:
            return changes


def _archiving(finding: DriftFinding) -> list[str]:
    """What came of it: n8n unpublishes what it archives, and does not publish it again when it comes back."""
    if finding.was_active and not finding.is_active:
        return ["It was published; now it does not run."]
    if finding.was_active == finding.is_active:
        return []
    return ["It is published, which was not approved."]


def _callers(diff: WorkflowDiff) -> set[str]:
    paths = {part.path for change in diff.changes if change.what == "setting" for part in change.parts}
    return {"callers"} if paths & {"settings.callerPolicy", "settings.callerIds", "settings.availableInMCP"} else set()


def bounded(diff: WorkflowDiff | None, limit: int = DIFF_BYTES) -> dict[str, Any]:
    """The diff as JSON of at most about ``limit`` bytes: the gravest changes stay, the rest is counted."""
    if diff is None:
        return {"status": "unknown", "changes": [], "left_out": 0, "sentences": []}
    whole = diff.to_json()
    whole["sentences"] = []  # each change has its own; the first of them stand in diff_summary
    if len(orjson.dumps(whole)) <= limit:
        return whole
    changes: list[dict[str, Any]] = whole["changes"]
    kept: list[dict[str, Any]] = []
    size = 0
    for change in changes:
        cost = len(orjson.dumps(change))
        if cost > limit // 8:
            parts = change["parts"]
            change = {**change, "parts": parts[:3], "parts_left_out": change["parts_left_out"] + max(len(parts) - 3, 0)}
            cost = len(orjson.dumps(change))
        if size + cost > limit and kept:
            break
        kept.append(change)
        size += cost
    return {**whole, "changes": kept, "left_out": whole["left_out"] + len(changes) - len(kept)}
