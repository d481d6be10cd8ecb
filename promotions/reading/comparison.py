"""Two environments side by side: equal means equal after mapping credentials and sub-workflows."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

import msgspec

from core.documents import Document
from promotions.planning import drift_incidents, snapshot_contents
from promotions.planning.drift_incidents import BlockingIncident, OpenIncident
from promotions.planning.inputs import EnvironmentState, PlanInputs, WorkflowState, load_inputs
from promotions.planning.mapping import keys_in_target, map_workflow, target_ids
from promotions.planning.options import SourceVersion
from tenants.scope import assert_no_scope, tenant_scope
from workflows.content import Fingerprint
from workflows.identity import loaded_fingerprint
from workflows.models import WorkflowEnvMap

RowState = Literal["only_in_source", "only_in_target", "differs", "equal"]


class ComparisonRow(Document, frozen=True, kw_only=True):
    """One workflow on both sides. ``source_hash`` is as in the source, ``wanted_hash`` after mapping (if computed).

    ``is_draft``: the source's draft was compared. ``incidents`` are the target's that are not settled.
    """

    key: str
    name: str
    state: RowState
    target_drifted: bool
    ignored: bool
    source_workflow_id: str | None
    target_workflow_id: str | None
    source_hash: str | None
    target_hash: str | None
    wanted_hash: str | None
    source_active: bool | None
    target_active: bool | None
    node_count: int
    source_has_draft: bool = False
    is_draft: bool = False
    source_archived: bool = False
    target_archived: bool = False
    incidents: tuple[OpenIncident, ...] = ()

    @property
    def can_be_promoted(self) -> bool:
        """Whether there is something to promote in the version that was compared."""
        return self.state in ("only_in_source", "differs") and not self.ignored

    @property
    def other_differences(self) -> list[str]:
        """What sets the two apart besides their content: being published, being archived."""
        if self.source_active is None or self.target_active is None:
            return []
        published = "published" if self.target_active else "unpublished"
        archived = "archived" if self.target_archived else "not archived"
        found = [(self.source_active != self.target_active, published)]
        found.append((self.source_archived != self.target_archived, archived))
        return [word for differs, word in found if differs]


class ComparisonCounts(Document, frozen=True, kw_only=True):
    """Workflows by state; ``drifted`` and ``drafts`` count across them."""

    only_in_source: int = 0
    only_in_target: int = 0
    differs: int = 0
    equal: int = 0
    drifted: int = 0
    drafts: int = 0


class ComparedEnvironment(Document, frozen=True, kw_only=True):
    """One side, and the capture that was compared; ``workflows`` counts them."""

    id: str
    name: str
    slug: str
    kind: str
    snapshot_id: str
    captured_at: str
    workflows: int


class Comparison(Document, frozen=True, kw_only=True):
    """The rows by name, and what stops a promotion."""

    source: ComparedEnvironment
    target: ComparedEnvironment
    workflows: tuple[ComparisonRow, ...]
    counts: ComparisonCounts
    blocking_drift_incidents: tuple[BlockingIncident, ...] = ()

    @property
    def rows(self) -> tuple[ComparisonRow, ...]:
        return self.workflows


def compare(
    *, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID, version: str = SourceVersion.PUBLISHED
) -> Comparison:
    """Compare what was last seen of two environments. Reads Git where hashes alone do not tell: outside any scope.

    With ``version`` *draft*, the source's drafts count where it holds any: what promoting them would change.

    Raises ``NotFound``, ``Invalid`` (the same environment twice) or ``NeverCaptured`` (nothing to compare).
    """
    assert_no_scope("Comparing environments")
    inputs = load_inputs(tenant_id=tenant_id, source_id=source_id, target_id=target_id)
    source, target = _environment(inputs.source), _environment(inputs.target)
    here, there = inputs.source.workflows, inputs.target.workflows
    drafts = {key for key, one in here.items() if one.draft_hash} if version == SourceVersion.DRAFT else set()
    undecided = [key for key in _undecided(inputs) if key not in drafts]
    wanted = _wanted_hashes(inputs, undecided, _fingerprints(tenant_id, source_id, undecided))
    wanted |= _mapped_hashes(inputs, sorted(drafts & set(there)), SourceVersion.DRAFT)
    incidents = drift_incidents.open_incidents(tenant_id=tenant_id, environment_id=target_id)
    rows = [_row(here.get(key), there.get(key), wanted.get(key), key in drafts) for key in {*here, *there}]
    rows = [_with_incidents(row, incidents.get(row.key, ())) for row in rows]
    rows.sort(key=lambda row: (row.name.casefold(), row.key))
    blocking = drift_incidents.blocking_incidents(tenant_id=tenant_id, environment_id=target_id, keys=None)
    return Comparison(
        source=source,
        target=target,
        workflows=tuple(rows),
        counts=_counts(rows),
        blocking_drift_incidents=tuple(blocking),
    )


def _undecided(inputs: PlanInputs) -> list[str]:
    """Keys of which only the credentials and data tables may differ: these are mapped to tell."""
    renames = inputs.resources.renames
    found = []
    for key, here in inputs.source.workflows.items():
        there = inputs.target.workflows.get(key)
        if there is None or here.is_ignored or there.is_ignored:
            continue
        if here.comparable_hash != there.comparable_hash:
            continue
        if renames or here.content_hash != there.content_hash:
            found.append(key)
    return found


def _fingerprints(tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: list[str]) -> dict[str, Fingerprint]:
    """The fingerprint of each of these workflows in an environment as it was seen last, by key."""
    if not keys:
        return {}
    with tenant_scope(tenant_id):
        rows = WorkflowEnvMap.objects.filter(
            environment_id=environment_id, canonical_workflow__key__in=keys
        ).values_list("canonical_workflow__key", "fingerprint")
        found = {key: loaded_fingerprint(stored) for key, stored in rows}
    return {key: one for key, one in found.items() if one is not None}


def _wanted_hashes(inputs: PlanInputs, keys: list[str], fingerprints: Mapping[str, Fingerprint]) -> dict[str, str]:
    """What each would be in the target. Fingerprints tell; only one of an older make needs its content."""
    if not keys:
        return {}
    found = {}
    for key in keys:
        one = fingerprints.get(key)
        if one is not None and len(one.credential_types) == len(one.credential_ids) == len(one.credential_names):
            found[key] = _mapped(one, inputs).content_hash(inputs.source.key_by_id)
    return found | _mapped_hashes(inputs, [key for key in keys if key not in found], SourceVersion.PUBLISHED)


def _mapped_hashes(inputs: PlanInputs, keys: list[str], version: str) -> dict[str, str]:
    """What each would be in the target, by its content."""
    if not keys:
        return {}
    workflow_ids, target_keys = target_ids(inputs, frozenset()), keys_in_target(inputs, frozenset())
    return {
        key: map_workflow(content, inputs=inputs, workflow_ids=workflow_ids, keys=target_keys).wanted_hash
        for key, (_entry, content) in snapshot_contents.load(inputs.source.captured(), keys, version).items()
    }


def _mapped(fingerprint: Fingerprint, inputs: PlanInputs) -> Fingerprint:
    """The fingerprint with the target's credentials and data tables in the places of the source's."""
    names, ids = [], []
    for kind, name, credential_id in zip(
        fingerprint.credential_types, fingerprint.credential_names, fingerprint.credential_ids, strict=True
    ):
        target = inputs.resources.resolve(kind, name, credential_id).target
        names.append(target.name if target else name)
        ids.append(target.id if target else credential_id)
    return replace(fingerprint, credential_names=tuple(names), credential_ids=tuple(ids))


def _row(here: WorkflowState | None, there: WorkflowState | None, wanted: str | None, is_draft: bool) -> ComparisonRow:
    shown = here or there
    assert shown is not None  # noqa: S101 -- the key came from one of the two
    ours = _source_hash(here, is_draft)
    return ComparisonRow(
        key=shown.key,
        name=shown.name,
        state=_state(here, there, wanted or ours),
        target_drifted=there is not None and there.is_drifted and not there.is_accepted,
        ignored=any(one is not None and one.is_ignored for one in (here, there)),
        source_workflow_id=here.env_workflow_id if here else None,
        target_workflow_id=there.env_workflow_id if there else None,
        source_hash=ours,
        target_hash=there.content_hash if there else None,
        wanted_hash=wanted,
        source_active=here.active if here else None,
        target_active=there.active if there else None,
        node_count=shown.node_count,
        source_has_draft=here is not None and bool(here.draft_hash),
        is_draft=is_draft,
        source_archived=here is not None and here.is_archived,
        target_archived=there is not None and there.is_archived,
    )


def _source_hash(here: WorkflowState | None, is_draft: bool) -> str | None:
    if here is None:
        return None
    return here.draft_hash if is_draft else here.content_hash


def _state(here: WorkflowState | None, there: WorkflowState | None, wanted: str | None) -> RowState:
    if here is None:
        return "only_in_target"
    if there is None:
        return "only_in_source"
    same = wanted == there.content_hash and there.content_hash
    # What is archived there is taken out of the archive by a promotion.
    return "equal" if same and (here.is_archived or not there.is_archived) else "differs"


def _with_incidents(row: ComparisonRow, incidents: Iterable[OpenIncident]) -> ComparisonRow:
    found = tuple(incidents)
    return msgspec.structs.replace(row, incidents=found, target_drifted=True) if found else row


def _counts(rows: Iterable[ComparisonRow]) -> ComparisonCounts:
    rows = list(rows)
    states = Counter(row.state for row in rows)
    return ComparisonCounts(
        only_in_source=states["only_in_source"],
        only_in_target=states["only_in_target"],
        differs=states["differs"],
        equal=states["equal"],
        drifted=sum(row.target_drifted for row in rows),
        drafts=sum(row.source_has_draft for row in rows),
    )


def _environment(side: EnvironmentState) -> ComparedEnvironment:
    """Raises ``NeverCaptured``."""
    snapshot = side.captured()
    return ComparedEnvironment(
        id=str(side.environment.pk),
        name=side.environment.name,
        slug=side.environment.slug,
        kind=side.environment.kind,
        snapshot_id=str(snapshot.pk),
        captured_at=snapshot.created_at.isoformat(),
        workflows=len(side.workflows),
    )
