"""Two whole environments side by side, each as it is now, as last seen, with its drafts, as approved, or as captured.

A side is named by a word of an address, as on a workflow's diff (see ``sides``), or ``now:<env>``.
*Now* is a capture: once n8n was asked, the side is the snapshot that came of it, and the address stays true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import NotFound
from core.ids import uuid_or_not_found
from operations.models import Operation, OperationStatus
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.content import fingerprint
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, WorkflowEnvMap
from workflows.stored_fingerprints import loaded_fingerprint

from . import services
from .approved_versions import ApprovedVersion, approved_at
from .canonical import canonical_blobs
from .manifest import ManifestEntry
from .models import Snapshot
from .selectors import ComparedSide
from .services import CAPTURE
from .sides import APPROVED, DRAFT, SNAPSHOT, SNAPSHOT_DRAFT, snapshot_spec

SNAPSHOTS_OFFERED = 20
NOW = "now"

#: What may be chosen: (group, [(spec, words)]).
Groups = list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True, slots=True)
class WholeSide:
    """One side. ``spec`` names it to a workflow's diff as well; ``asking`` is the capture that is still to tell."""

    spec: str
    label: str
    environment: Environment
    at: datetime | None = None
    is_now: bool = False
    snapshot: Snapshot | None = None
    drafts: bool = False
    asking: Operation | None = None
    approved: ApprovedVersion | None = None

    @property
    def never_captured(self) -> bool:
        """Nothing is known of it, which is not the same as holding no workflows."""
        return self.snapshot is None and self.asking is None and parse(self.spec)[0] != APPROVED


def parse(spec: str) -> tuple[str, str]:
    """(kind, name) of a side; the kind of a bare environment is empty."""
    kind, colon, name = spec.partition(":")
    return (kind, name) if colon else ("", kind)


def load_both(visit: Visit, specs: Iterable[str], environments: Sequence[Environment]) -> dict[str, WholeSide]:
    """The sides that are chosen, by their specs. Outside any scope. Raises ``NotFound``."""
    return {spec: load(visit, spec, environments) for spec in specs if spec}


def load(visit: Visit, spec: str, environments: Sequence[Environment]) -> WholeSide:
    """What ``spec`` names, without its workflows. Outside any scope. Raises ``NotFound``."""
    kind, name = parse(spec)
    if kind in (SNAPSHOT, SNAPSHOT_DRAFT):
        return _of_snapshot(visit, spec, name, drafts=kind == SNAPSHOT_DRAFT)
    slug, _, commit = name.partition("@") if kind == APPROVED else (name, "", "")
    environment = next((e for e in environments if e.slug == slug), None)
    if environment is None or kind not in ("", NOW, DRAFT, APPROVED):
        raise NotFound
    if kind == APPROVED:
        return _of_approved(spec, environment, commit)
    return _as_last_seen(visit, kind, environment)


def _of_approved(spec: str, environment: Environment, commit: str) -> WholeSide:
    label = f"{environment.name}, approved"
    if not commit:
        return WholeSide(spec, label, environment)
    version = approved_at(environment, commit)
    return WholeSide(spec, label, environment, version.at, approved=version)


def _as_last_seen(visit: Visit, kind: str, environment: Environment) -> WholeSide:
    is_now, drafts = kind == NOW, kind == DRAFT
    if environment.last_snapshot_id is None:
        return WholeSide(environment.slug, f"{environment.name}, never captured", environment, is_now=is_now)
    seen = services.snapshot_by_id(visit.tenant.pk, environment.last_snapshot_id)
    label = f"{environment.name}, {'drafts' if drafts else 'live'} as last seen"
    spec = snapshot_spec(seen.pk, draft=drafts)
    return WholeSide(spec, label, environment, seen.created_at, is_now, seen, drafts)


def _of_snapshot(visit: Visit, spec: str, name: str, *, drafts: bool) -> WholeSide:
    wanted = uuid_or_not_found(name)
    try:
        found = services.snapshot_by_id(visit.tenant.pk, wanted)
    except NotFound:
        with tenant_scope(visit.tenant.pk):
            job = Operation.objects.filter(kind=CAPTURE, subject_type="snapshot", subject_id=wanted).first()
            place = Environment.objects.filter(pk=job.environment_id).first() if job and job.environment_id else None
        if job is None or place is None or job.status == OperationStatus.COMPLETED:
            raise
        return WholeSide(spec, f"{place.name}, asked now", place, asking=job, is_now=True)
    words = "with drafts" if drafts else found.get_snapshot_type_display().lower()
    return WholeSide(
        spec, f"{found.environment.name}, {words}", found.environment, found.created_at, False, found, drafts
    )


def rows_of(side: WholeSide, *, across: bool) -> Mapping[str, ComparedSide]:
    """The workflows of a side by key; ``across`` environments by what they hold without ids of their own.

    A draft has no such hash: beside another environment it counts as changed. Outside any scope.
    """
    if side.snapshot is not None:
        return {e.key: _row(e, drafts=side.drafts, across=across) for e in services.entries(side.snapshot)}
    return _approved(side.approved, across=across) if side.approved is not None else {}


def _row(entry: ManifestEntry, *, drafts: bool, across: bool) -> ComparedSide:
    if drafts and entry.draft is not None:
        return ComparedSide(entry.name, entry.draft.content_hash, entry.active)
    return ComparedSide(entry.name, entry.comparable_hash if across else entry.content_hash, entry.active)


def _approved(version: ApprovedVersion, *, across: bool) -> Mapping[str, ComparedSide]:
    """What still is as it was approved then is known by its row; only the rest is read."""
    environment, blobs = version.environment, version.blobs()
    today = canonical_blobs(environment)
    with tenant_scope(environment.tenant_id):
        keys = key_by_workflow_id(environment.pk)
        rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk).select_related("canonical_workflow")
        found = {row.canonical_workflow.key: row for row in rows.defer("fingerprint")}
    known = {
        key: ComparedSide(row.env_name, _hash(row, keys) if across else row.git_content_hash, bool(row.git_active))
        for key, row in found.items()
        if key in blobs and blobs[key] == today.get(key)
    }
    return known | {
        key: _read(content, version, across=across) for key, content in version.contents(blobs.keys() - known)
    }


def _read(content: dict[str, Any], version: ApprovedVersion, *, across: bool) -> ComparedSide:
    one = fingerprint(content)
    found = one.comparable_hash(version.references) if across else one.content_hash(version.references)
    return ComparedSide(str(content.get("name") or ""), found, bool(content.get("active")))


def _hash(row: WorkflowEnvMap, keys: Mapping[str, str]) -> str | None:
    if row.git_content_hash == row.env_content_hash:
        return row.comparable_hash
    approved = loaded_fingerprint(row.git_fingerprint)
    return approved.comparable_hash(keys) if approved is not None else row.git_content_hash


def choices(environments: Sequence[Environment]) -> Groups:
    """What may be chosen, as groups of (spec, words). Needs the tenant's scope."""
    groups = [
        (
            environment.name,
            [
                (f"{NOW}:{environment.slug}", f"{environment.name}, now"),
                (environment.slug, f"{environment.name}, live as last seen"),
                (f"{DRAFT}:{environment.slug}", f"{environment.name}, drafts as last seen"),
                (f"{APPROVED}:{environment.slug}", f"{environment.name}, approved"),
            ],
        )
        for environment in environments
    ]
    recent = Snapshot.objects.filter(environment__in=environments).select_related("environment")
    recent = recent.defer("workflows", "verification").order_by("-created_at", "-pk")[:SNAPSHOTS_OFFERED]
    offered = [(f"{SNAPSHOT}:{s.pk}", f"{s.environment.name}, {s}") for s in recent]
    return [*groups, ("Snapshots", offered)]


def with_chosen(groups: Groups, chosen: Mapping[str, WholeSide]) -> Groups:
    """The choices and what is chosen beside them, such as an old snapshot: a form keeps what its page shows."""
    known = {spec for _, options in groups for spec, _ in options}
    beside = [(spec, _words(side)) for spec, side in chosen.items() if spec not in known]
    return [*groups, ("Shown", beside)] if beside else groups


def _words(side: WholeSide) -> str:
    return f"{side.label}, {side.at:%Y-%m-%d %H:%M:%S} UTC" if side.at else side.label
