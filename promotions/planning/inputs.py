"""What is known of two environments: their workflows, credentials, mappings. Read in one scope, used outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from core.errors import Invalid, NotFound
from promotions.errors import NeverCaptured
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows import surroundings
from workflows.accepted import accepted
from workflows.facts import NO_FACTS, loaded_facts
from workflows.facts import Facts as WorkflowFacts
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef
from workflows.surroundings import Surroundings

from .documents import Reached

#: Statuses of a mapping whose workflow is there.
PRESENT = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED)

#: Type of a credential (or the data table's), and its name or its id.
TypeAndName = tuple[str, str]
TypeAndId = tuple[str, str]
#: Id and name in the target.
IdAndName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """A workflow in one environment, as last seen. ``is_accepted``: a person left its difference to stand."""

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
    facts: WorkflowFacts = NO_FACTS
    is_accepted: bool = False

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
class EnvironmentState:
    """One environment with its workflows, by key."""

    environment: Environment
    workflows: Mapping[str, WorkflowState]
    snapshot: Snapshot | None

    @cached_property
    def key_by_id(self) -> dict[str, str]:
        return {workflow.env_workflow_id: key for key, workflow in self.workflows.items()}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceIndex:
    """Credentials and data tables of both sides, and which of the target's stands for which of the source's.

    ``known`` are the ids in the target by type and name; ``gone`` were there once. ``source_names`` are the names that
    one of the source goes by.
    """

    mapped_by_name: Mapping[TypeAndName, IdAndName] = field(default_factory=dict)
    mapped_by_id: Mapping[TypeAndId, IdAndName] = field(default_factory=dict)
    known: Mapping[TypeAndName, tuple[str, ...]] = field(default_factory=dict)
    known_ids: frozenset[TypeAndId] = frozenset()
    source_names: Mapping[TypeAndId, tuple[str, ...]] = field(default_factory=dict)
    gone: frozenset[TypeAndId] = frozenset()

    @property
    def renames(self) -> bool:
        """Whether a mapping leads to a credential of another name: then equal names do not mean equal."""
        return any(name != target[1] for (_type, name), target in self.mapped_by_name.items())

    def names_of(self, resource_type: str, source_id: str, name: str) -> tuple[str, ...]:
        """What the source calls it; ``name`` (as a node calls it) where that is not known."""
        return self.source_names.get((resource_type, source_id)) or (name,)

    def resolve(self, resource_type: str, name: str, source_id: str = "") -> Resolved:
        """The target's credential, or data table: an entered mapping first, else the only one of the same name.

        The one of the source is known by its id; ``name`` is what a node calls it, and the source's own list, or what
        other nodes call it, counts for more. Where its names lead to several, nothing is guessed.
        """
        mapped = self.mapped_by_id.get((resource_type, source_id)) if source_id else None
        mapped = mapped or self.mapped_by_name.get((resource_type, name))
        if mapped is not None:
            return self._mapped(resource_type, mapped)
        return self._by_name(resource_type, self.names_of(resource_type, source_id, name), source_id)

    def _mapped(self, resource_type: str, target: IdAndName) -> Resolved:
        target_id, target_name = target
        if (resource_type, target_id) in self.gone:
            return Resolved("gone")
        verified = (resource_type, target_id) in self.known_ids
        return Resolved("mapping", CredentialRef(id=target_id, name=target_name), verified)

    def _by_name(self, resource_type: str, names: Iterable[str], source_id: str) -> Resolved:
        name_by_id = {found: name for name in names for found in self.known.get((resource_type, name), ())}
        if source_id in name_by_id:
            return Resolved("same_id", CredentialRef(id=source_id, name=name_by_id[source_id]))
        if len(name_by_id) == 1:
            ((target_id, name),) = name_by_id.items()
            return Resolved("same_name", CredentialRef(id=target_id, name=name))
        if not name_by_id:
            return Resolved("none")
        return Resolved("several_names" if len(set(name_by_id.values())) > 1 else "ambiguous")


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """Everything that comparing and planning need from the database.

    ``target_node_types`` are those that the target's workflows were seen to use, ``hosts`` where the tenant's other
    environments are reached, to their names. With ``repairs``, what n8n refuses and nothing needs is removed.
    """

    source: EnvironmentState
    target: EnvironmentState
    resources: ResourceIndex = ResourceIndex()
    source_surroundings: Surroundings = field(default_factory=Surroundings)
    target_surroundings: Surroundings = field(default_factory=Surroundings)
    target_node_types: frozenset[str] = frozenset()
    hosts: Mapping[str, str] = field(default_factory=dict)
    repairs: bool = False


def load_inputs(*, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID) -> PlanInputs:
    """Read both sides. Raises ``Invalid`` where they are one, ``NotFound`` where one is not the tenant's."""
    if source_id == target_id:
        raise Invalid("Source and target are the same environment.", recovery="Choose two different ones.")
    with tenant_scope(tenant_id):
        environments = list(Environment.objects.filter(is_archived=False))
        source, target = _states(environments, source_id, target_id)
        mappings = list(
            CredentialMapping.objects.filter(source_environment_id=source_id, target_environment_id=target_id)
        )
        source_credentials = _credentials(source_id)
        target_credentials = _credentials(target_id)
    around_source, around_target = (surroundings.stored(tenant_id, pk) for pk in (source_id, target_id))
    return PlanInputs(
        source=source,
        target=target,
        resources=_index(mappings, source_credentials, target_credentials, around_source, around_target),
        source_surroundings=around_source,
        target_surroundings=around_target,
        hosts=hosts_of(environments, target.environment),
    )


def _states(
    environments: Iterable[Environment], source_id: uuid.UUID, target_id: uuid.UUID
) -> tuple[EnvironmentState, EnvironmentState]:
    found = {e.pk: e for e in environments if e.pk in (source_id, target_id)}
    if len(found) != 2:
        raise NotFound("There is no such environment.", recovery="Choose an environment from the list.")
    snapshot_ids = [e.last_snapshot_id for e in found.values() if e.last_snapshot_id]
    # The manifest can be megabytes; only what is needed to find the contents is read here.
    snapshots = {s.pk: s for s in Snapshot.objects.filter(pk__in=snapshot_ids).defer("workflows")}

    def state(environment: Environment) -> EnvironmentState:
        last = environment.last_snapshot_id
        return EnvironmentState(environment, _workflows(environment.pk), snapshots.get(last) if last else None)

    return state(found[source_id]), state(found[target_id])


def _credentials(environment_id: uuid.UUID) -> list[KnownCredential]:
    columns = ("credential_type", "name", "credential_id", "also_named", "is_gone")
    return list(KnownCredential.objects.filter(environment_id=environment_id).only(*columns))


def _index(
    mappings: Iterable[CredentialMapping],
    source_credentials: Iterable[KnownCredential],
    target_credentials: Iterable[KnownCredential],
    around_source: Surroundings,
    around_target: Surroundings,
) -> ResourceIndex:
    known: dict[TypeAndName, tuple[str, ...]] = {}
    for resource_type, name, target_id in _present(target_credentials, around_target):
        known[resource_type, name] = (*known.get((resource_type, name), ()), target_id)
    by_name, by_id = _mappings(mappings, source_credentials)
    return ResourceIndex(
        mapped_by_name=by_name,
        mapped_by_id=by_id,
        known=known,
        known_ids=frozenset((kind, target_id) for (kind, _name), ids in known.items() for target_id in ids),
        source_names=_source_names(source_credentials, around_source),
        gone=frozenset((c.credential_type, c.credential_id) for c in target_credentials if c.is_gone),
    )


def _mappings(
    mappings: Iterable[CredentialMapping], source_credentials: Iterable[KnownCredential]
) -> tuple[dict[TypeAndName, IdAndName], dict[TypeAndId, IdAndName]]:
    """By name and by id. A mapping of an id that is alive is that one's alone; of one that is gone, the name's."""
    alive = {(c.credential_type, c.credential_id) for c in source_credentials if not c.is_gone}
    by_name, by_id = {}, {}
    for mapping in mappings:
        target = (mapping.target_credential_id, mapping.target_name)
        source = (mapping.credential_type, mapping.source_credential_id)
        if source not in alive:
            by_name[mapping.credential_type, mapping.source_name] = target
        if mapping.source_credential_id:
            by_id[source] = target
    return by_name, by_id


def _source_names(credentials: Iterable[KnownCredential], around: Surroundings) -> dict[TypeAndId, tuple[str, ...]]:
    names = {(c.credential_type, c.credential_id): (c.name, *c.also_named) for c in credentials if c.credential_id}
    return names | {(DATA_TABLE, table.id): (table.name,) for table in around.data_tables or ()}


def hosts_of(environments: Iterable[Environment], target: Environment) -> dict[str, str]:
    """Where other environments of the tenant are reached, to their names; the target's own is left out."""
    own = _host_of(target.base_url)
    found = {_host_of(e.base_url): e.name for e in environments}
    return {host: name for host, name in found.items() if host and host != own and not own.startswith(f"{host}/")}


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}"


def refresh_surroundings(*, tenant_id: uuid.UUID, source_id: uuid.UUID, target_id: uuid.UUID) -> Reached:
    """Ask both instances what they have besides workflows, and store it. Outside any scope.

    Of one that cannot be asked, what was seen last stays.
    """
    with tenant_scope(tenant_id):
        found = {e.pk: e for e in Environment.objects.filter(pk__in=[source_id, target_id], is_archived=False)}
    if len(found) < 2 or not all(e.last_snapshot_id for e in found.values()):
        return Reached(source=False, target=False)
    return Reached(
        source=surroundings.refresh(found[source_id]).reached, target=surroundings.refresh(found[target_id]).reached
    )


def node_types_in_use(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> frozenset[str]:
    """The types of node that workflows of an environment were seen to use."""
    with tenant_scope(tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, status__in=[str(s) for s in PRESENT])
        return frozenset(kind for found in rows.values_list("fingerprint__types", flat=True) for kind in found or ())


def _present(credentials: Iterable[KnownCredential], around: Surroundings) -> Iterable[tuple[str, str, str]]:
    """Type, name and id of what can be pointed at there: credentials under each of their names, and data tables."""
    for credential in credentials:
        if not credential.is_gone:
            for name in dict.fromkeys((credential.name, *credential.also_named)):
                yield credential.credential_type, name, credential.credential_id
    for table in around.data_tables or ():
        yield DATA_TABLE, table.name, table.id


def _workflows(environment_id: uuid.UUID) -> dict[str, WorkflowState]:
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
            "pk",
        )
    )
    left = accepted()
    return {
        row[0]: WorkflowState(
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
            is_accepted=row[13] in left,
        )
        for row in rows
    }
