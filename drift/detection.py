"""From rows to incidents: opens what is new, refreshes what stands, closes what went away.

Everything starts from the hashes on ``workflow_env_map``, so a look at 2,000 workflows reads only the rows that
differ. Contents are read from Git only for a drift that was not described yet. No two standing incidents exist for one
aspect of a workflow in an environment: a unique index says so, and a race ends with the first.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models.fields.json import KeyTextTransform

from core import clock
from operations.models import Operation, OperationStatus, holding
from outbox.publishing import publish
from snapshots.models import Snapshot, SnapshotType
from snapshots.notices import Captured
from snapshots.rehashing import is_behind
from tenants.scope import tenant_scope
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, MapStatus, WorkflowEnvMap

from . import contents, policies, scheduling, upgrades
from .accepted import tolerating
from .describing import Described, DriftFinding, Sighting, Subject, describe
from .domain_events import DriftFound
from .findings import findings_of
from .models import ACTIVE, DriftIncident, DriftKind, IncidentState

if TYPE_CHECKING:
    from operations.engine import Run

CHUNK = 50
_WRITING = (OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.RETRY_PENDING)
#: Snapshots that a writing job takes before it writes anything: drift seen in them is drift.
_BEFORE_WRITING = frozenset({SnapshotType.PRE_PROMOTION, SnapshotType.PRE_RESTORE})


@dataclass(slots=True)
class Standing:
    """What detection has to do in one environment."""

    fresh: list[DriftFinding] = field(default_factory=list)
    same: list[uuid.UUID] = field(default_factory=list)
    gone: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    active: dict[Subject, DriftIncident] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    drifted: int = 0


def captured(notice: Captured) -> dict[str, Any]:
    """After each capture. What a job that writes to the environment does itself is not drift."""
    run, environment, snapshot = notice.run, notice.environment, notice.snapshot
    scheduling.ensure_schedule(environment)
    upgrades.notice(run, environment, snapshot)
    writes = run.operation.exclusive_key == environment.write_lock
    if snapshot.snapshot_type == SnapshotType.PRE_STABILIZE:
        return {"skipped": "stabilizing"}
    only_close = writes and snapshot.snapshot_type not in _BEFORE_WRITING
    return detect(run, environment=environment, snapshot=snapshot, only_close=only_close)


def detect(
    run: Run | None, *, environment: Environment, snapshot: Snapshot | None = None, only_close: bool = False
) -> dict[str, Any]:
    """Bring the incidents of an environment in line with what was last seen. Safe to repeat; call outside any scope.

    Returns ``{drifted, opened, refreshed, updated, closed}`` or ``{skipped}``.
    """
    if writer := writer_of(environment, besides=run.operation.pk if run else None):
        return {"skipped": f"“{writer}” is writing to the environment"}
    with _writing(run, environment.tenant_id):
        environment = Environment.objects.get(pk=environment.pk)
        if reason := _why_not(environment):
            return {"skipped": reason}
        look = _Look(environment, snapshot.pk if snapshot is not None else environment.last_snapshot_id)
        closed = _close_gone(look.standing.gone)
        DriftIncident.objects.filter(pk__in=look.standing.same).update(last_detected_at=clock.now())
    opened = changed = 0
    fresh = [] if only_close else look.standing.fresh
    for start in range(0, len(fresh), CHUNK):
        if run is not None:
            run.check()
        part = fresh[start : start + CHUNK]
        described = look.describe(part)
        with _writing(run, environment.tenant_id):
            still = _unchanged(part)
            made = look.open_or_refresh([d for d in described if d.finding.subject in still])
        opened, changed = opened + made[0], changed + made[1]
    return {
        "drifted": look.standing.drifted,
        "opened": opened,
        "refreshed": len(look.standing.same),
        "updated": changed,
        "closed": closed,
    }


def _why_not(environment: Environment) -> str:
    """Why nothing can be said of drift now; empty where it can. Needs the tenant's scope."""
    if is_behind(environment.pk):
        return "the hashes of this environment are being computed again"
    if not environment.baseline_commit_sha or environment.is_archived:
        return "there is nothing approved yet"
    return ""


class _Look:
    """One detection in one environment. Needs the tenant's scope to be made."""

    def __init__(self, environment: Environment, snapshot_id: uuid.UUID | None) -> None:
        self.environment, self.snapshot_id = environment, snapshot_id
        self.standing = survey(environment)
        self._policy = policies.policy_of(environment.tenant_id)
        self._attribution = upgrades.Attribution(environment)
        commits = Snapshot.objects.filter(pk__in=[snapshot_id] if snapshot_id else [])
        self._sighting = Sighting(
            environment_kind=environment.kind,
            snapshot_id=str(snapshot_id) if snapshot_id else None,
            commits={
                "approved": environment.baseline_commit_sha,
                "seen": commits.values_list("git_commit_sha", flat=True).first(),
            },
            keys=self.standing.keys,
        )

    def describe(self, findings: Sequence[DriftFinding]) -> list[Described]:
        """Say what happened to each, from what Git holds. Outside any scope."""
        drafts = [f.key for f in findings if f.kind == DriftKind.DRAFT]
        others = [f.key for f in findings if f.kind != DriftKind.DRAFT]
        of_others = contents.both(self.environment, self.snapshot_id, others)
        of_drafts = contents.both_drafts(self.environment, self.snapshot_id, drafts)
        found = []
        for finding in findings:
            approved, seen = of_drafts if finding.kind == DriftKind.DRAFT else of_others
            described = describe(
                finding,
                self._sighting,
                before=approved.get(finding.key) if finding.kind != DriftKind.ADDED else None,
                after=seen.get(finding.key) if finding.kind != DriftKind.REMOVED else None,
            )
            found.append(upgrades.attributed(described, self._attribution))
        return found

    def open_or_refresh(self, described: Sequence[Described]) -> tuple[int, int]:
        """Make incidents of what is new, bring standing ones up to date; how many of each. Inside a transaction."""
        now = clock.now()
        new: list[DriftIncident] = []
        changed = 0
        for item in described:
            finding, values = item.finding, self._values(item, now)
            known = self.standing.active.get(finding.subject)
            if known is None:
                values["ttl_expires_at"] = policies.deadline(self._policy, item.grade.severity, now)
                new.append(
                    DriftIncident(tenant_id=self.environment.tenant_id, workflow_env_map_id=finding.map_id, **values)
                )
                continue
            # A further edit never buys time: the clock runs from the first sight, and only ever gets shorter.
            due = policies.deadline(self._policy, item.grade.severity, known.created_at)
            values["ttl_expires_at"] = min(due, known.ttl_expires_at) if known.ttl_expires_at else due
            standing = DriftIncident.objects.filter(pk=known.pk, incident_state__in=ACTIVE)
            changed += standing.update(updated_at=now, **values)
        DriftIncident.objects.bulk_create(new, batch_size=500, ignore_conflicts=True)
        made = DriftIncident.objects.filter(pk__in=[row.pk for row in new])
        opened = dict(made.values_list("pk", "severity"))
        if opened:
            publish(_found(self.environment, opened), tenant_id=self.environment.tenant_id)
        return len(opened), changed

    def _values(self, item: Described, now: datetime) -> dict[str, Any]:
        finding = item.finding
        return {
            "kind": finding.kind,
            "aspect": finding.aspect,
            "severity": item.grade.severity,
            "drift_snapshot": item.details.to_json(),
            "drifted_hash": finding.drifted_hash,
            "snapshot_id": self.snapshot_id,
            "upgrade_id": item.upgrade_id,
            "last_detected_at": now,
        }


@contextlib.contextmanager
def _writing(run: Run | None, tenant_id: uuid.UUID) -> Iterator[None]:
    if run is not None:
        with run.fenced():
            yield
    else:
        with tenant_scope(tenant_id):
            yield


def writer_of(environment: Environment, *, besides: uuid.UUID | None = None) -> str:
    """The title of a job that is writing to the environment now, or nothing. A parked job does not count."""
    with tenant_scope(environment.tenant_id):
        rows = Operation.objects.filter(holding(_WRITING), exclusive_key=environment.write_lock)
        if besides is not None:
            rows = rows.exclude(pk=besides)
        return rows.values_list("title", flat=True).first() or ""


def survey(environment: Environment) -> Standing:
    """What drifts, what of it is known, what went away. Needs the tenant's scope; reads only rows that differ."""
    standing = Standing()
    findings = _not_tolerated({finding.subject: finding for finding in findings_of(environment)})
    standing.drifted = len({map_id for map_id, _ in findings})
    known = (
        DriftIncident.objects.filter(workflow_env_map__environment_id=environment.pk, incident_state__in=ACTIVE)
        .annotate(signature=KeyTextTransform("signature", "drift_snapshot"))
        .select_related("workflow_env_map")
        .defer("drift_snapshot", "workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
    )
    unchanged: set[Subject] = set()
    for incident in known:
        finding = findings.get((incident.workflow_env_map_id, incident.aspect))
        if finding is None:
            ignored = incident.workflow_env_map.status == MapStatus.IGNORED
            standing.gone.append((incident.pk, "ignored" if ignored else "resolved_itself"))
            continue
        standing.active[finding.subject] = incident
        if incident.signature == finding.signature:
            standing.same.append(incident.pk)
            unchanged.add(finding.subject)
    standing.fresh = [finding for subject, finding in findings.items() if subject not in unchanged]
    if standing.fresh:
        standing.keys = key_by_workflow_id(environment.pk)
    return standing


def _not_tolerated(findings: Mapping[Subject, DriftFinding]) -> dict[Subject, DriftFinding]:
    """Without the very drift that a person has accepted."""
    tolerated = _tolerated([map_id for map_id, _ in findings])
    return {
        subject: finding
        for subject, finding in findings.items()
        if finding.signature not in tolerated.get(finding.map_id, ())
    }


def _tolerated(map_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, set[str]]:
    settled = tolerating().filter(workflow_env_map_id__in=map_ids).values_list("workflow_env_map_id", "tolerates")
    found: dict[uuid.UUID, set[str]] = {}
    for map_id, tolerates in settled:
        found.setdefault(map_id, set()).add(tolerates)
    return found


def _close_gone(gone: Sequence[tuple[uuid.UUID, str]]) -> int:
    now, closed = clock.now(), 0
    for resolution in {resolution for _, resolution in gone}:
        closed += DriftIncident.objects.filter(
            pk__in=[pk for pk, why in gone if why == resolution], incident_state__in=ACTIVE
        ).update(
            incident_state=IncidentState.CLOSED,
            resolution_type=resolution,
            ttl_expires_at=None,
            resolved_at=now,
            updated_at=now,
        )
    return closed


def _unchanged(findings: Sequence[DriftFinding]) -> set[Subject]:
    """Those that are still as they were when they were found; their rows are held until the transaction ends."""
    rows = WorkflowEnvMap.objects.select_for_update().filter(pk__in=[f.map_id for f in findings])
    now = {mapping.pk: mapping for mapping in rows.only(*_COMPARED)}
    return {f.subject for f in findings if f.map_id in now and _is_as_found(f, now[f.map_id])}


_COMPARED = ("git_content_hash", "env_content_hash", "git_draft_hash", "env_draft_hash", "status")


def _is_as_found(finding: DriftFinding, mapping: WorkflowEnvMap) -> bool:
    """Whether a mapping still says what the finding was made of."""
    if mapping.status in (MapStatus.IGNORED, MapStatus.DELETED) or mapping.git_content_hash != finding.git_hash:
        return False
    if finding.kind == DriftKind.REMOVED or mapping.status == MapStatus.MISSING:
        return finding.kind == DriftKind.REMOVED and mapping.status == MapStatus.MISSING
    if mapping.env_content_hash != finding.env_hash:
        return False
    drafts = (mapping.git_draft_hash, mapping.env_draft_hash)
    return finding.kind != DriftKind.DRAFT or drafts == (finding.git_draft, finding.env_draft)


def _found(environment: Environment, severities: Mapping[uuid.UUID, str]) -> DriftFound:
    """The event of incidents that were opened, by their ids."""
    counts = dict(Counter(str(severity) for severity in severities.values()))
    return DriftFound(environment_id=environment.pk, incident_ids=list(severities), severities=counts)
