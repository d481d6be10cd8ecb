"""What a restore would do to an environment as it is this minute; nothing is written anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import OpsError
from tenants.scope import tenant_scope
from workflows import identity, surroundings
from workflows.calling import publishes_callees
from workflows.content import ContentError, parse
from workflows.gateway import client_for, environment_by_id
from workflows.identity import SeenWorkflow
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.n8n.errors import N8nError
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef
from workflows.stubs import is_known, waiting_for_secrets

from . import contents
from .errors import PreviewFailed, SnapshotUnreadable
from .fact_checks import check_facts
from .gathering import Gathered, gather
from .left_alone import leave_alone
from .manifest import key_map, set_aside, verification_from
from .models import Snapshot
from .needs import check_needs
from .planning import CurrentWorkflow, RestoreOptions, RestorePlan, plan_restore
from .reading import Rescued
from .restore_documents import RestoreIssue
from .restore_target import CredentialBook, RestoreTarget

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

Lacks = Callable[[Collection[str]], Collection[str]]
"""Names those of some types of credential that an instance does not have."""


class Instance(msgspec.Struct, frozen=True):
    """What an instance says of itself. ``listed``: its own list of credentials, where it has one (id, name, type).

    ``offers`` are its capabilities.
    """

    listed: list[dict[str, str]] | None
    offers: dict[str, bool]
    checks_structure: bool = False

    @classmethod
    def ask(cls, client: N8nClient) -> Instance:
        """Raises ``N8nError``."""
        spec = client.spec()
        return cls(_credentials_listed(client), offered(client), surroundings.checks_structure(spec))

    def to_json(self) -> dict[str, Any]:
        """As the record of a step keeps it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def lacking_types(client: N8nClient, kinds: Collection[str]) -> list[str]:
    """Those of some types of credential that an instance does not have."""
    return [kind for kind in kinds if not is_known(client, kind)]


@dataclass(frozen=True, slots=True)
class _Map:
    """What the database knows of the environment."""

    keys: dict[str, str]
    ignored: frozenset[str]


def preview(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID | str,
    snapshot_id: uuid.UUID | str,
    options: RestoreOptions | None = None,
) -> RestorePlan:
    """Look at the environment now and compare (by default: all of the snapshot). Call outside any scope.

    Raises ``NotFound``, ``PreviewFailed`` (REST_001) where the environment cannot be read and ``SnapshotUnreadable``.
    """
    return previews(
        tenant_id=tenant_id,
        environment_id=environment_id,
        snapshot_id=snapshot_id,
        several=[options or RestoreOptions()],
    )[0]


def previews(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID | str,
    snapshot_id: uuid.UUID | str,
    several: Sequence[RestoreOptions],
) -> list[RestorePlan]:
    """As ``preview``, for several lots of choices from one look."""
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = contents.snapshot_by_id(tenant_id, snapshot_id)
    try:
        with client_for(environment) as client:
            current, instance = look(environment, client), Instance.ask(client)

            def lacks(kinds: Collection[str]) -> list[str]:
                return lacking_types(client, kinds)

            return [
                plan_against(environment, snapshot, current, options, instance=instance, lacks=lacks)
                for options in several
            ]
    except N8nError as error:
        raise PreviewFailed(
            f"{environment.name} could not be read: {error.message}",
            details={"cause": error.to_dict()},
            recovery=error.recovery,
        ) from error


@dataclass(frozen=True, slots=True)
class Looked:
    """An environment as it is now, by key; workflows that were never captured go by ``id:<n8n id>``.

    ``unread`` are n8n ids of workflows that are there and could not be taken in.
    """

    workflows: Mapping[str, CurrentWorkflow]
    unread: frozenset[str] = frozenset()


def look(environment: Environment, client: N8nClient) -> Looked:
    """Raises ``N8nError``."""
    with tenant_scope(environment.tenant_id):
        known = _map(environment)
    gathered = gather(client, put=None)
    return Looked(_currents(gathered, known), frozenset(gathered.set_aside))


def _currents(gathered: Gathered, known: _Map) -> dict[str, CurrentWorkflow]:
    keys = known.keys
    found = {}
    for workflow_id, seen in gathered.seen.items():
        key = keys.get(workflow_id) or f"id:{workflow_id}"
        stored = gathered.stored[workflow_id]
        found[key] = CurrentWorkflow(
            key=key,
            name=seen.name,
            env_workflow_id=workflow_id,
            content_hash=seen.fingerprint.content_hash(keys),
            active=seen.active,
            webhooks=tuple(stored.webhooks),
            tags=tuple(seen.tags),
            draft_hash=_draft_hash(seen, keys),
            archived=seen.facts.archived,
            facts=seen.facts,
            calls=tuple(stored.called_ids),
        )
    return found


def _draft_hash(seen: SeenWorkflow, keys: Mapping[str, str]) -> str | None:
    if seen.draft is None:
        return None
    found = seen.draft.content_hash(keys)
    return found if found != seen.fingerprint.content_hash(keys) else None


@dataclass(slots=True)
class _Bytes:
    """The contents of a snapshot that a plan looks at, by key."""

    contents: dict[str, bytes] = field(default_factory=dict)
    drafts: dict[str, bytes] = field(default_factory=dict)

    def read(self, plan: RestorePlan, snapshot: Snapshot) -> None:
        """Read what the plan writes; what is lost becomes a problem of the plan, what Git alone has lost a warning."""
        chosen = {item.key for item in plan.to_write}
        if not chosen:
            return
        rescued = Rescued()
        try:
            loaded = contents.load_bytes(snapshot, chosen, rescued=rescued)
            self.contents = {entry.key: data for entry, data in loaded}
            self.drafts = contents.load_drafts(snapshot, chosen, rescued=rescued)
        except SnapshotUnreadable as error:
            key = str(error.details.get("key", ""))
            plan.problems.append(RestoreIssue(code=error.code, key=key, message=f"{error.message} {error.recovery}"))
        plan.warnings += rescued.warnings

    def load(self, key: str) -> Mapping[str, Any]:
        """Raises ``LookupError`` where it cannot be read."""
        try:
            return parse(self.contents[key])
        except ContentError as error:
            raise LookupError(key) from error

    def load_draft(self, key: str) -> Mapping[str, Any] | None:
        return parse(self.drafts[key]) if key in self.drafts else None


def plan_against(
    environment: Environment,
    snapshot: Snapshot,
    there: Looked,
    options: RestoreOptions,
    *,
    instance: Instance,
    lacks: Lacks,
) -> RestorePlan:
    """The plan, with everything that would dangle. ``lacks`` names types of credential that the instance has not.

    What could not be captured then, or cannot be read now, is left alone and named.
    """
    with tenant_scope(environment.tenant_id):
        known = _map(environment)
        book = credential_book(environment, snapshot, instance.listed)
    entries = contents.entries(snapshot)
    then = {
        known.keys.get(finding.env_workflow_id) or f"id:{finding.env_workflow_id}": finding
        for finding in set_aside(verification_from(snapshot.verification).findings)
    }
    ignored = known.ignored | then.keys()
    plan = plan_restore(entries=entries, current=there.workflows, options=options, ignored=ignored)
    leave_alone(plan, then=then, now={known.keys.get(workflow_id, "") for workflow_id in there.unread})
    check_facts(plan, instance.offers)
    stored = _Bytes()
    stored.read(plan, snapshot)
    target = RestoreTarget(
        origin={**known.keys, **key_map(entries, contents.references_of(snapshot))},
        current=there.workflows,
        book=book,
        same_environment=snapshot.environment_id == environment.pk,
        checks_structure=instance.checks_structure,
        creates_credentials=bool(instance.offers.get("create_credential")),
        chooses_ids=bool(instance.offers.get("choose_credential_id")),
        publishes_callees=publishes_callees(instance.offers),
        lacks=lacks,
    )
    check_needs(plan, load=stored.load, load_draft=stored.load_draft, target=target)
    return plan


def offered(client: N8nClient) -> dict[str, bool]:
    """What the instance can do, as far as its licence lets it."""
    return client.spec().capabilities() | {"move_to_folder": client.has_folders()}


def _credentials_listed(client: N8nClient) -> list[dict[str, Any]] | None:
    """n8n's list of credentials, or None where this version (or key) does not give it."""
    try:
        return client.list_credentials()
    except OpsError:
        return None


def credential_book(
    environment: Environment, snapshot: Snapshot, listed: list[dict[str, str]] | None
) -> CredentialBook:
    """The credentials that a restore may point to. Needs the tenant's scope."""
    rows = _known_credentials(environment) if listed is None else [(c["type"], c["name"], c["id"]) for c in listed]
    around = surroundings.stored(environment.tenant_id, environment.pk)
    rows += [(DATA_TABLE, table.name, table.id) for table in around.data_tables or ()]
    by_name: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name, credential_id in rows:
        by_name[kind, name] = (*by_name.get((kind, name), ()), credential_id)
    return CredentialBook(
        ids=frozenset((kind, credential_id) for kind, _, credential_id in rows),
        by_name=by_name,
        listed=listed is not None,
        mapped=_mapped_credentials(snapshot.environment_id, environment.pk),
        unready=frozenset((stub.type, stub.id) for stub in waiting_for_secrets(environment)),
    )


def _known_credentials(environment: Environment) -> list[tuple[str, str, str]]:
    """Type, name and id of those that workflows were seen to use."""
    rows = KnownCredential.objects.filter(environment_id=environment.pk, is_gone=False)
    return list(rows.values_list("credential_type", "name", "credential_id"))


def _mapped_credentials(source_id: uuid.UUID, target_id: uuid.UUID) -> dict[tuple[str, str], CredentialRef]:
    """By type and id (and by type and name): what a person has mapped the source's credentials to."""
    found: dict[tuple[str, str], CredentialRef] = {}
    if source_id == target_id:
        return found
    for row in CredentialMapping.objects.filter(source_environment_id=source_id, target_environment_id=target_id):
        target = CredentialRef(id=row.target_credential_id, name=row.target_name)
        if row.source_credential_id:
            found[row.credential_type, row.source_credential_id] = target
        found.setdefault((row.credential_type, row.source_name), target)
    return found


def _map(environment: Environment) -> _Map:
    ignored = WorkflowEnvMap.objects.filter(environment_id=environment.pk, status=MapStatus.IGNORED)
    return _Map(
        keys=identity.key_by_workflow_id(environment.pk),
        ignored=frozenset(ignored.values_list("canonical_workflow__key", flat=True)),
    )
