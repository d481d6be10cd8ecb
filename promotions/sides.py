"""What is known about two environments: places of workflows, credentials, mappings. Read in one scope, used outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from opsconsole.core.errors import Invalid, NotFound
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows.facts import NO_FACTS, loaded_facts
from workflows.facts import Facts as FactsOfPlace
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.references import CredentialRef

from .errors import NeverCaptured

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

    how: str  # mapping | same_name | none | ambiguous
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

    @property
    def renames(self) -> bool:
        """Whether a mapping leads to a credential of another name: then equal names do not mean equal."""
        return any(name != target[1] for (_type, name), target in self.mapped.items())

    def resolve(self, credential_type: str, name: str, identity: str = "") -> Resolved:
        """The target's credential: an entered mapping first, else the only one of the same type and name."""
        found = self.mapped_by_id.get((credential_type, identity)) if identity else None
        found = found or self.mapped.get((credential_type, name))
        if found is not None:
            verified = (credential_type, found[0]) in self.known_ids
            return Resolved("mapping", CredentialRef(id=found[0], name=found[1]), verified)
        ids = self.known.get((credential_type, name), ())
        if len(ids) == 1:
            return Resolved("same_name", CredentialRef(id=ids[0], name=name))
        return Resolved("ambiguous" if ids else "none")


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
        known_rows = list(
            KnownCredential.objects.filter(environment_id=target_id).values_list(
                "credential_type", "name", "credential_id"
            )
        )
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name, identity in known_rows:
        known[kind, name] = (*known.get((kind, name), ()), identity)
    return Facts(
        source=source,
        target=target,
        mapped={(m.credential_type, m.source_name): (m.target_credential_id, m.target_name) for m in mappings},
        mapped_by_id={
            (m.credential_type, m.source_credential_id): (m.target_credential_id, m.target_name)
            for m in mappings
            if m.source_credential_id
        },
        known=known,
        known_ids=frozenset((kind, identity) for kind, _name, identity in known_rows),
    )


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
