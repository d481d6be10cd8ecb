"""From rows to incidents: opens what is new, refreshes what stands, closes what went away.

Everything starts from the hashes on ``workflow_env_map``, so a look at 2,000 workflows reads only the rows that
differ. Contents are read from Git only for a drift that was not described yet. No two standing incidents exist for one
place: a unique index says so, and a race ends with the first.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform

from core import clock
from operations.models import Operation, OperationStatus
from outbox.publishing import publish
from snapshots.models import Snapshot, SnapshotType
from snapshots.notices import Captured
from snapshots.rehashing import is_behind
from tenants.scope import tenant_scope
from workflows.content import LiveVersion
from workflows.facts import FactChange, changes, loaded_facts
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, MapStatus, WorkflowEnvMap

from . import contents, policies, upgrades
from .describing import Described, Finding, describe
from .domain_events import DriftFound
from .models import ACTIVE, DriftIncident, DriftKind, IncidentState

if TYPE_CHECKING:
    from operations.engine import Run

CHUNK = 50
#: Resolutions after which the very same drift is not reported again, until it changes.
TOLERATING = ("accepted", "false_positive", "deactivated")
_WRITING = (OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.RETRY_PENDING)
#: Snapshots that a writing job takes before it writes anything: drift seen in them is drift.
_BEFORE_WRITING = frozenset({SnapshotType.PRE_PROMOTION, SnapshotType.PRE_RESTORE})


@dataclass(slots=True)
class Standing:
    """What detection has to do in one environment."""

    fresh: list[Finding] = field(default_factory=list)
    same: list[uuid.UUID] = field(default_factory=list)
    gone: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    active: dict[tuple[uuid.UUID, str], DriftIncident] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    drifted: int = 0


def captured(notice: Captured) -> dict[str, Any]:
    """After each capture. A job that writes to the environment is not told that its own work is drift."""
    from . import scheduling

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
        if is_behind(environment.pk):
            return {"skipped": "hashes of another normalisation are being made anew"}
        if not environment.baseline_commit_sha or environment.is_archived:
            return {"skipped": "there is nothing approved yet"}
        snapshot_id = snapshot.pk if snapshot is not None else environment.last_snapshot_id
        standing = survey(environment)
        closed = _close_gone(standing.gone)
        DriftIncident.objects.filter(pk__in=standing.same).update(last_detected_at=clock.now())
        policy = policies.policy_of(environment.tenant_id)
        attribution = upgrades.Attribution(environment)
        commit = (
            Snapshot.objects.filter(pk__in=[snapshot_id] if snapshot_id else [])
            .values_list("git_commit_sha", flat=True)
            .first()
        )
    opened = changed = 0
    commits = {"approved": environment.baseline_commit_sha, "seen": commit}
    fresh = [] if only_close else standing.fresh
    for start in range(0, len(fresh), CHUNK):
        if run is not None:
            run.check()
        part = fresh[start : start + CHUNK]
        texts = contents.both(environment, snapshot_id, [f.key for f in part if f.kind != DriftKind.DRAFT])
        drafts = contents.both_drafts(environment, snapshot_id, [f.key for f in part if f.kind == DriftKind.DRAFT])
        described = [
            describe(
                finding,
                environment_kind=environment.kind,
                before=sides[0].get(finding.key) if finding.kind != DriftKind.ADDED else None,
                after=sides[1].get(finding.key) if finding.kind != DriftKind.REMOVED else None,
                keys=standing.keys,
                snapshot_id=str(snapshot_id) if snapshot_id else None,
                commits=commits,
            )
            for finding in part
            for sides in [drafts if finding.kind == DriftKind.DRAFT else texts]
        ]
        described = [upgrades.attributed(item, attribution) for item in described]
        with _writing(run, environment.tenant_id):
            still = _unchanged(part)
            made = _open_or_refresh(
                [d for d in described if d.finding.place in still], standing.active, policy, environment, snapshot_id
            )
        opened, changed = opened + made[0], changed + made[1]
    return {
        "drifted": standing.drifted,
        "opened": opened,
        "refreshed": len(standing.same),
        "updated": changed,
        "closed": closed,
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
        rows = Operation.objects.filter(exclusive_key=environment.write_lock, status__in=[str(s) for s in _WRITING])
        if besides is not None:
            rows = rows.exclude(pk=besides)
        return rows.values_list("title", flat=True).first() or ""


def survey(environment: Environment) -> Standing:
    """What drifts, what of it is known, what went away. Needs the tenant's scope; reads only rows that differ."""
    standing = Standing()
    findings = {f.place: f for f in findings_of(environment)}
    tolerated = _tolerated([map_id for map_id, _ in findings])
    findings = {place: f for place, f in findings.items() if f.signature not in tolerated.get(f.map_id, ())}
    standing.drifted = len({map_id for map_id, _ in findings})
    known = (
        DriftIncident.objects.filter(workflow_env_map__environment_id=environment.pk, incident_state__in=ACTIVE)
        .annotate(signature=KeyTextTransform("signature", "drift_snapshot"))
        .select_related("workflow_env_map")
        .defer("drift_snapshot", "workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
    )
    for incident in known:
        finding = findings.get((incident.workflow_env_map_id, incident.aspect))
        if finding is None:
            ignored = incident.workflow_env_map.status == MapStatus.IGNORED
            standing.gone.append((incident.pk, "ignored" if ignored else "resolved_itself"))
            continue
        standing.active[finding.place] = incident
        if incident.signature == finding.signature:
            standing.same.append(incident.pk)
    same = set(standing.same)
    for place, finding in findings.items():
        incident = standing.active.get(place)  # type: ignore[assignment]
        if incident is None or incident.pk not in same:
            standing.fresh.append(finding)
    if standing.fresh:
        standing.keys = key_by_workflow_id(environment.pk)
    return standing


def findings_of(environment: Environment) -> list[Finding]:
    """Every aspect of every place of the environment that is not as approved. Needs the tenant's scope."""
    both = Q(git_content_hash__isnull=False, env_content_hash__isnull=False)
    differs = (
        Q(status=MapStatus.MISSING, git_content_hash__isnull=False)
        | Q(git_content_hash__isnull=True, env_content_hash__isnull=False)
        | (both & ~Q(git_content_hash=F("env_content_hash")))
        | (Q(git_active__isnull=False, env_active__isnull=False) & ~Q(git_active=F("env_active")))
        | (both & _apart("git_draft_hash", "env_draft_hash"))
        | Q(git_facts__isnull=False, env_facts__isnull=False) & ~Q(git_facts=F("env_facts"))
    )
    rows = (
        WorkflowEnvMap.objects.filter(differs, environment_id=environment.pk)
        .exclude(status__in=[MapStatus.IGNORED, MapStatus.DELETED])
        .select_related("canonical_workflow")
        .defer("fingerprint", "git_fingerprint")
        .order_by("pk")
    )
    return [finding for row in rows for finding in _findings(row, environment.learnt_settings)]


def _apart(first: str, second: str) -> Q:
    """Where two columns differ, nulls being values."""
    return (
        Q(**{f"{first}__isnull": True, f"{second}__isnull": False})
        | Q(**{f"{first}__isnull": False, f"{second}__isnull": True})
        | Q(**{f"{first}__isnull": False, f"{second}__isnull": False}) & ~Q(**{first: F(second)})
    )


def _findings(row: WorkflowEnvMap, defaults: Mapping[str, Any]) -> list[Finding]:
    git, env = row.git_content_hash, row.env_content_hash
    is_active = bool(row.env_active)
    was_active = is_active if row.git_active is None else row.git_active
    make = partial(
        Finding,
        row.pk,
        row.canonical_workflow.key,
        row.env_name or row.canonical_workflow.name or row.canonical_workflow.key,
    )
    if row.status == MapStatus.MISSING:
        return [make(str(DriftKind.REMOVED), git, None, was_active, False)]
    if git is None:
        return [make(str(DriftKind.ADDED), git, env, False, is_active)]
    hashes = (git, env, was_active, is_active)
    told = _details(row, defaults)
    archived = tuple(change for change in told if change.kind == "archived")
    details = tuple(change for change in told if change.kind != "archived")
    found = []
    if git != env:
        live = msgspec.convert(row.live_version, LiveVersion) if row.live_version else None
        found.append(make(str(DriftKind.MODIFIED), *hashes, live=live))
    elif was_active != is_active and not archived:
        found.append(make(str(DriftKind.ACTIVATION), *hashes))
    if archived:
        found.append(make(str(DriftKind.ARCHIVED), *hashes, details=archived, env_facts=row.env_facts))
    if row.git_draft_hash != row.env_draft_hash:
        saved = msgspec.convert(row.draft_version, LiveVersion) if row.draft_authors else None
        drafts = (row.git_draft_hash, row.env_draft_hash)
        found.append(make(str(DriftKind.DRAFT), *hashes, git_draft=drafts[0], env_draft=drafts[1], live=saved))
    if details:
        found.append(make(str(DriftKind.DETAILS), *hashes, details=details, env_facts=row.env_facts))
    return found


def _details(row: WorkflowEnvMap, defaults: Mapping[str, Any]) -> list[FactChange]:
    approved, seen = loaded_facts(row.git_facts), loaded_facts(row.env_facts)
    return changes(approved, seen, defaults=defaults) if approved is not None and seen is not None else []


def _tolerated(map_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, set[str]]:
    settled = (
        DriftIncident.objects.filter(
            workflow_env_map_id__in=map_ids,
            resolution_type__in=TOLERATING,
            incident_state__in=[IncidentState.CLOSED, IncidentState.STABILIZED, IncidentState.RECONCILED],
        )
        .annotate(tolerates=KeyTextTransform("tolerates", "drift_snapshot"))
        .values_list("workflow_env_map_id", "tolerates")
    )
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


def _unchanged(findings: Sequence[Finding]) -> set[tuple[Any, str]]:
    """Those that are still as they were when they were found; their rows are held until the transaction ends."""
    rows = WorkflowEnvMap.objects.select_for_update().filter(pk__in=[f.map_id for f in findings])
    columns = ("git_content_hash", "env_content_hash", "git_draft_hash", "env_draft_hash", "status")
    now = {row[0]: row[1:] for row in rows.values_list("pk", *columns)}
    gone = (MapStatus.IGNORED, MapStatus.DELETED)
    return {
        f.place
        for f in findings
        if f.map_id in now
        and now[f.map_id][0] == f.git_hash
        and (f.kind == DriftKind.REMOVED or now[f.map_id][1] == f.env_hash)
        and (f.kind != DriftKind.DRAFT or now[f.map_id][2:4] == (f.git_draft, f.env_draft))
        and (f.kind == DriftKind.REMOVED) == (now[f.map_id][4] == MapStatus.MISSING)
        and now[f.map_id][4] not in gone
    }


def _open_or_refresh(
    described: Sequence[Described],
    active: dict[tuple[uuid.UUID, str], DriftIncident],
    policy: Any,
    environment: Environment,
    snapshot_id: uuid.UUID | None,
) -> tuple[int, int]:
    now = clock.now()
    new: list[DriftIncident] = []
    changed = 0
    for item in described:
        finding, known = item.finding, active.get(item.finding.place)
        values = {
            "kind": finding.kind,
            "aspect": finding.aspect,
            "severity": item.grade.severity,
            "drift_snapshot": item.drift_snapshot,
            "drifted_hash": finding.drifted_hash,
            "snapshot_id": snapshot_id,
            "upgrade_id": item.upgrade_id,
            "last_detected_at": now,
        }
        if known is None:
            due = policies.deadline(policy, item.grade.severity, now)
            row = DriftIncident(
                tenant_id=environment.tenant_id, workflow_env_map_id=finding.map_id, ttl_expires_at=due, **values
            )
            new.append(row)
            continue
        # A further edit never buys time: the clock runs from the first sight, and only ever gets shorter.
        due = policies.deadline(policy, item.grade.severity, known.created_at)
        values["ttl_expires_at"] = min(due, known.ttl_expires_at) if known.ttl_expires_at else due
        changed += DriftIncident.objects.filter(pk=known.pk, incident_state__in=ACTIVE).update(updated_at=now, **values)
    DriftIncident.objects.bulk_create(new, batch_size=500, ignore_conflicts=True)
    inserted = DriftIncident.objects.filter(pk__in=[row.pk for row in new])
    opened = dict(inserted.values_list("pk", "severity"))
    if opened:
        severities = dict(Counter(str(severity) for severity in opened.values()))
        found = DriftFound(environment_id=environment.pk, incident_ids=list(opened), severities=severities)
        publish(found, tenant_id=environment.tenant_id)
    return len(opened), changed
