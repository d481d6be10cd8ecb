"""Two environments side by side: equal means equal after mapping credentials and sub-workflows."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from promotions.planning import snapshot_contents
from promotions.planning.inputs import Facts, Place, load_facts
from promotions.planning.mapping import keys_in_target, map_workflow, target_ids
from promotions.planning.options import SourceVersion
from tenants.scope import assert_no_scope, tenant_scope
from workflows.content import Fingerprint
from workflows.identity import loaded_fingerprint
from workflows.models import WorkflowEnvMap

STATES = ("only_in_source", "only_in_target", "differs", "equal")


@dataclass(frozen=True, slots=True)
class Row:
    """One workflow on both sides. ``source_hash`` is as in the source, ``wanted_hash`` after mapping (if computed).

    ``is_draft``: the source's draft was compared. ``incidents`` are the target's standing ones.
    """

    key: str
    name: str
    state: str
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
    incidents: tuple[snapshot_contents.OpenIncident, ...] = ()

    @property
    def can_be_promoted(self) -> bool:
        """Whether there is something to promote in the version that was compared."""
        return self.state in ("only_in_source", "differs") and not self.ignored

    @property
    def beside(self) -> list[str]:
        """What sets the two apart beside their content: being published, being archived."""
        if self.source_active is None or self.target_active is None:
            return []
        published = "published" if self.target_active else "unpublished"
        archived = "archived" if self.target_archived else "not archived"
        told = [(self.source_active != self.target_active, published)]
        told.append((self.source_archived != self.target_archived, archived))
        return [word for differs, word in told if differs]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows by name, and what stands in the way of a promotion."""

    facts: Facts
    rows: list[Row]
    blocking_drift_incidents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES} | {
            "drifted": sum(row.target_drifted for row in self.rows),
            "drafts": sum(row.source_has_draft for row in self.rows),
        }

    def to_dict(self) -> dict[str, Any]:
        source, target = self.facts.source, self.facts.target
        return {
            "source": _environment(source),
            "target": _environment(target),
            "workflows": [asdict(row) for row in self.rows],
            "counts": self.counts,
            "blocking_drift_incidents": self.blocking_drift_incidents,
        }


def compare(
    *, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID, version: str = SourceVersion.PUBLISHED
) -> Comparison:
    """Compare what was last seen of two environments. Reads Git where hashes alone do not tell: outside any scope.

    With ``version`` *draft*, the source's drafts count where it holds any: what promoting them would change.

    Raises ``NotFound``, ``Invalid`` (the same environment twice) or ``NeverCaptured`` (nothing to compare).
    """
    assert_no_scope("Comparing environments")
    facts = load_facts(tenant_id=tenant_id, source_id=source_id, target_id=target_id)
    facts.source.captured()
    facts.target.captured()
    here, there = facts.source.places, facts.target.places
    drafts = {key for key, place in here.items() if place.draft_hash} if version == SourceVersion.DRAFT else set()
    undecided = [key for key in _undecided(facts) if key not in drafts]
    wanted = _wanted_hashes(facts, undecided, _marks(tenant_id, source_id, undecided))
    wanted |= _mapped_hashes(facts, sorted(drafts & set(there)), SourceVersion.DRAFT)
    incidents = snapshot_contents.open_incidents(tenant_id=tenant_id, environment_id=target_id)
    rows = [
        _row(key, here.get(key), there.get(key), wanted.get(key), key in drafts, tuple(incidents.get(key, ())))
        for key in {*here, *there}
    ]
    rows.sort(key=lambda row: (row.name.casefold(), row.key))
    blocking = snapshot_contents.blocking_incidents(tenant_id=tenant_id, environment_id=target_id, keys=None)
    return Comparison(facts=facts, rows=rows, blocking_drift_incidents=blocking)


def _undecided(facts: Facts) -> list[str]:
    """Keys of which only the credentials and data tables may differ: these are mapped to tell."""
    renames = facts.renames
    found = []
    for key, here in facts.source.places.items():
        there = facts.target.places.get(key)
        if there is None or here.is_ignored or there.is_ignored:
            continue
        if here.comparable_hash != there.comparable_hash:
            continue
        if renames or here.content_hash != there.content_hash:
            found.append(key)
    return found


def _marks(tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: list[str]) -> dict[str, Fingerprint]:
    """The fingerprint of each of these workflows in an environment as it was seen last, by key."""
    if not keys:
        return {}
    with tenant_scope(tenant_id):
        rows = WorkflowEnvMap.objects.filter(
            environment_id=environment_id, canonical_workflow__key__in=keys
        ).values_list("canonical_workflow__key", "fingerprint")
        found = {key: loaded_fingerprint(stored) for key, stored in rows}
    return {key: mark for key, mark in found.items() if mark is not None}


def _wanted_hashes(facts: Facts, keys: list[str], marks: Mapping[str, Fingerprint]) -> dict[str, str]:
    """What each would be in the target. Fingerprints tell; only one of an older make needs its content."""
    if not keys:
        return {}
    found = {}
    for key in keys:
        mark = marks.get(key)
        if mark is not None and len(mark.credential_types) == len(mark.credential_ids) == len(mark.credential_names):
            found[key] = _mapped(mark, facts).content_hash(facts.source.key_by_id)
    return found | _mapped_hashes(facts, [key for key in keys if key not in found], SourceVersion.PUBLISHED)


def _mapped_hashes(facts: Facts, keys: list[str], version: str) -> dict[str, str]:
    """What each would be in the target, by its content."""
    if not keys:
        return {}
    workflow_ids, target_keys = target_ids(facts, frozenset()), keys_in_target(facts, frozenset())
    return {
        key: map_workflow(content, facts=facts, workflow_ids=workflow_ids, keys=target_keys).wanted_hash
        for key, (_entry, content) in snapshot_contents.load(facts.source.captured(), keys, version).items()
    }


def _mapped(mark: Fingerprint, facts: Facts) -> Fingerprint:
    """The fingerprint with the target's credentials and data tables in the places of the source's."""
    names, ids = [], []
    for kind, name, ident in zip(mark.credential_types, mark.credential_names, mark.credential_ids, strict=True):
        target = facts.resolve(kind, name, ident).target
        names.append(target.name if target else name)
        ids.append(target.id if target else ident)
    return replace(mark, credential_names=tuple(names), credential_ids=tuple(ids))


def _row(
    key: str,
    here: Place | None,
    there: Place | None,
    wanted: str | None,
    is_draft: bool,
    incidents: tuple[snapshot_contents.OpenIncident, ...],
) -> Row:
    ours = (here.draft_hash if is_draft else here.content_hash) if here else None
    if here is None:
        state = "only_in_target"
    elif there is None:
        state = "only_in_source"
    else:
        same = (wanted or ours) == there.content_hash and there.content_hash
        # What is archived there is taken out of the archive by a promotion.
        state = "equal" if same and (here.is_archived or not there.is_archived) else "differs"
    shown = here or there
    assert shown is not None  # noqa: S101 -- the key came from one of the two
    return Row(
        key=key,
        name=shown.name,
        state=state,
        target_drifted=bool(incidents or (there and there.is_drifted)),
        ignored=bool((here and here.is_ignored) or (there and there.is_ignored)),
        source_workflow_id=here.env_workflow_id if here else None,
        target_workflow_id=there.env_workflow_id if there else None,
        source_hash=ours,
        target_hash=there.content_hash if there else None,
        wanted_hash=wanted,
        source_active=here.active if here else None,
        target_active=there.active if there else None,
        node_count=shown.node_count,
        source_has_draft=bool(here and here.draft_hash),
        is_draft=is_draft,
        source_archived=bool(here and here.is_archived),
        target_archived=bool(there and there.is_archived),
        incidents=incidents,
    )


def _environment(side: Any) -> dict[str, Any]:
    snapshot = side.captured()
    return {
        "id": str(side.environment.pk),
        "name": side.environment.name,
        "slug": side.environment.slug,
        "kind": side.environment.kind,
        "snapshot_id": str(snapshot.pk),
        "captured_at": snapshot.created_at.isoformat(),
        "workflows": len(side.places),
    }
