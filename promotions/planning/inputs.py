"""What is known about two environments: places of workflows, credentials, mappings. Read in one scope, used outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from core.errors import Invalid, NotFound
from promotions.errors import NeverCaptured
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows import surroundings
from workflows.facts import NO_FACTS, loaded_facts
from workflows.facts import Facts as FactsOfPlace
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef
from workflows.surroundings import Surroundings

from .needs import hosts_of

#: Statuses of a place whose workflow is there.
PRESENT = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED)


@dataclass(frozen=True, slots=True)
class Place:
    """A workflow in one environment, as last seen."""

    key: str
    name: str
    env_workflow_id: str
    status: str
    content_hash: str
    comparable_hash: str
    approved_hash: str
    active: bool
    tags: tuple[str, ...]
    node_count: int
    changed_at: datetime | None
    draft_hash: str | None = None
    facts: FactsOfPlace = NO_FACTS

    @property
    def is_archived(self) -> bool:
        return self.facts.archived

    @property
    def is_ignored(self) -> bool:
        return self.status == MapStatus.IGNORED

    @property
    def is_drifted(self) -> bool:
        return bool(self.approved_hash and self.content_hash and self.approved_hash != self.content_hash)


@dataclass(frozen=True)
class Side:
    """One environment with what is in it, by key."""

    environment: Environment
    places: Mapping[str, Place]
    snapshot: Snapshot | None

    @cached_property
    def key_by_id(self) -> dict[str, str]:
        return {place.env_workflow_id: key for key, place in self.places.items()}

    def captured(self) -> Snapshot:
        """The last capture, or ``NeverCaptured``."""
        if self.snapshot is None:
            raise NeverCaptured(
                f"{self.environment.name} has never been captured.",
                details={"environment_id": str(self.environment.pk)},
            )
        return self.snapshot


@dataclass(frozen=True, slots=True)
class Resolved:
    """A credential of the target for one of the source: how it was found, or why not."""

    how: str  # mapping | same_name | same_id | none | ambiguous | several_names | gone
    target: CredentialRef | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that comparing and planning need from the database."""

    source: Side
    target: Side
    mapped: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    mapped_by_id: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    known: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    known_ids: frozenset[tuple[str, str]] = frozenset()
    source_names: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    gone: frozenset[tuple[str, str]] = frozenset()
    around_source: Surroundings = field(default_factory=Surroundings)
    around_target: Surroundings = field(default_factory=Surroundings)
    target_types: frozenset[str] = frozenset()
    prunes: bool = False
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def renames(self) -> bool:
        """Whether a mapping leads to a credential of another name: then equal names do not mean equal."""
        return any(name != target[1] for (_type, name), target in self.mapped.items())

    def resolve(self, credential_type: str, name: str, identity: str = "") -> Resolved:
        """The target's credential, or data table: an entered mapping first, else the only one of the same name.

        The one of the source is known by its id; ``name`` is what a node calls it, and the source's own list, or what
        other nodes call it, counts for more. Where its names lead to several, nothing is guessed.
        """
        found = self.mapped_by_id.get((credential_type, identity)) if identity else None
        found = found or self.mapped.get((credential_type, name))
        if found is not None:
            if (credential_type, found[0]) in self.gone:
                return Resolved("gone")
            verified = (credential_type, found[0]) in self.known_ids
            return Resolved("mapping", CredentialRef(id=found[0], name=found[1]), verified)
        names = self.source_names.get((credential_type, identity)) or (name,)
        ids = {ident: called for called in names for ident in self.known.get((credential_type, called), ())}
        if identity in ids:
            return Resolved("same_id", CredentialRef(id=identity, name=ids[identity]))
        if len(ids) == 1:
            ((ident, called),) = ids.items()
            return Resolved("same_name", CredentialRef(id=ident, name=called))
        return Resolved(("several_names" if len(set(ids.values())) > 1 else "ambiguous") if ids else "none")


def load_facts(*, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID) -> Facts:
    """Read both sides; ``NotFound`` for an environment that is not the tenant's."""
    if source_id == target_id:
        raise Invalid("Source and target are the same environment.", recovery="Choose two different ones.")
    with tenant_scope(tenant_id):
        found = {e.pk: e for e in Environment.objects.filter(pk__in=[source_id, target_id], is_archived=False)}
        if len(found) != 2:
            raise NotFound("There is no such environment.", recovery="Choose an environment from the list.")
        snapshot_ids = [e.last_snapshot_id for e in found.values() if e.last_snapshot_id]
        # The manifest can be megabytes; only what is needed to find the contents is read here.
        snapshots = {s.pk: s for s in Snapshot.objects.filter(pk__in=snapshot_ids).defer("workflows")}
        source, target = (
            Side(found[pk], _places(pk), snapshots.get(found[pk].last_snapshot_id or uuid.UUID(int=0)))
            for pk in (source_id, target_id)
        )
        mappings = list(
            CredentialMapping.objects.filter(source_environment_id=source_id, target_environment_id=target_id)
        )
        here = list(KnownCredential.objects.filter(environment_id=source_id).only(*_CREDENTIAL))
        there = list(KnownCredential.objects.filter(environment_id=target_id).only(*_CREDENTIAL))
        others = list(Environment.objects.filter(is_archived=False))
    around = [surroundings.stored(tenant_id, pk) for pk in (source_id, target_id)]
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name, identity in _present(there, around[1]):
        known[kind, name] = (*known.get((kind, name), ()), identity)
    # A mapping of an id that is alive speaks of that one; of one that is gone, made again or not told, of the name.
    alive = {(c.credential_type, c.credential_id) for c in here if not c.is_gone}
    return Facts(
        source=source,
        target=target,
        mapped={
            (m.credential_type, m.source_name): (m.target_credential_id, m.target_name)
            for m in mappings
            if (m.credential_type, m.source_credential_id) not in alive
        },
        mapped_by_id={
            (m.credential_type, m.source_credential_id): (m.target_credential_id, m.target_name)
            for m in mappings
            if m.source_credential_id
        },
        known=known,
        known_ids=frozenset((kind, ident) for (kind, _name), ids in known.items() for ident in ids),
        source_names={(c.credential_type, c.credential_id): (c.name, *c.also_named) for c in here if c.credential_id}
        | {(DATA_TABLE, table.id): (table.name,) for table in around[0].data_tables or ()},
        gone=frozenset((c.credential_type, c.credential_id) for c in there if c.is_gone),
        around_source=around[0],
        around_target=around[1],
        hosts=hosts_of(others, found[target_id]),
    )


def look_around(*, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID) -> tuple[bool, bool]:
    """Ask both sides what lies around their workflows now, and keep it: whether each was reached. Outside any scope.

    A side that cannot be asked keeps what was seen of it last.
    """
    with tenant_scope(tenant_id):
        found = {e.pk: e for e in Environment.objects.filter(pk__in=[source_id, target_id], is_archived=False)}
    if len(found) < 2 or not all(e.last_snapshot_id for e in found.values()):
        return False, False
    return surroundings.refresh(found[source_id]).reached, surroundings.refresh(found[target_id]).reached


def types_seen(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> frozenset[str]:
    """The types of node that workflows of an environment were seen to use."""
    with tenant_scope(tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, status__in=[str(s) for s in PRESENT])
        return frozenset(kind for found in rows.values_list("fingerprint__types", flat=True) for kind in found or ())


_CREDENTIAL = ("credential_type", "name", "credential_id", "also_named", "is_gone")


def _present(credentials: Iterable[KnownCredential], around: Surroundings) -> Iterable[tuple[str, str, str]]:
    """Type, name and id of what can be pointed at there: credentials under each of their names, and data tables."""
    for credential in credentials:
        if not credential.is_gone:
            for name in dict.fromkeys((credential.name, *credential.also_named)):
                yield credential.credential_type, name, credential.credential_id
    for table in around.data_tables or ():
        yield DATA_TABLE, table.name, table.id


def _places(environment_id: uuid.UUID) -> dict[str, Place]:
    rows: Iterable[tuple[Any, ...]] = (
        WorkflowEnvMap.objects.filter(environment_id=environment_id, status__in=[str(s) for s in PRESENT])
        .exclude(env_workflow_id="")
        .values_list(
            "canonical_workflow__key",
            "env_name",
            "env_workflow_id",
            "status",
            "env_content_hash",
            "comparable_hash",
            "git_content_hash",
            "env_active",
            "env_tags",
            "node_count",
            "content_changed_at",
            "env_draft_hash",
            "env_facts",
        )
    )
    return {
        row[0]: Place(
            key=row[0],
            name=row[1],
            env_workflow_id=row[2],
            status=row[3],
            content_hash=row[4] or "",
            comparable_hash=row[5] or "",
            approved_hash=row[6] or "",
            active=bool(row[7]),
            tags=tuple(row[8] or ()),
            node_count=row[9],
            changed_at=row[10],
            draft_hash=row[11],
            facts=loaded_facts(row[12]) or NO_FACTS,
        )
        for row in rows
    }
