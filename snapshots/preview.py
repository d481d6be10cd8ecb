"""What a restore would do to an environment as it is this minute; nothing is written anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
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

from . import services
from .errors import PreviewFailed, SnapshotUnreadable
from .gathering import Gathered, gather
from .manifest import calls_in, key_map
from .models import Snapshot
from .needs import CredentialBook, Target, check_needs
from .planning import Current, Options, Plan, check_facts, plan_restore

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient


class Instance(msgspec.Struct, frozen=True):
    """What an instance says of itself. ``listed``: its own list of credentials, where it has one (id, name, type).

    ``offers`` are its capabilities.
    """

    listed: list[dict[str, str]] | None
    offers: dict[str, bool]
    checks_structure: bool = False

    @classmethod
    def ask(cls, client: N8nClient) -> Instance:
        spec = client.spec()
        return cls(_credentials_listed(client), offered(client), surroundings.checks_structure(spec))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
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
    keys: Collection[str] | None = None,
    overwrite_existing: bool = True,
    delete_extra: bool = False,
    stubs: bool = False,
    repair: bool = False,
    leave_out: bool = False,
) -> Plan:
    """Look at the environment now and compare; the choices are those of ``Options``. Call outside any scope.

    Raises ``NotFound``, ``PreviewFailed`` (REST_001) where the environment cannot be read and ``SnapshotUnreadable``.
    """
    options = Options(
        keys=frozenset(keys) if keys is not None else None,
        overwrite_existing=overwrite_existing,
        delete_extra=delete_extra,
        stubs=stubs,
        repair=repair,
        leave_out=leave_out,
    )
    where: dict[str, Any] = {"environment_id": environment_id, "snapshot_id": snapshot_id}
    return previews(tenant_id=tenant_id, **where, several=[options])[0]


def previews(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID | str,
    snapshot_id: uuid.UUID | str,
    several: Sequence[Options],
) -> list[Plan]:
    """As ``preview``, for several lots of choices from one look."""
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = services.snapshot_by_id(tenant_id, snapshot_id)
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


def look(environment: Environment, client: N8nClient) -> dict[str, Current]:
    """The environment as it is now, by key; workflows that were never captured go by ``id:<n8n id>``."""
    with tenant_scope(environment.tenant_id):
        known = _map(environment)
    return _currents(gather(client, put=None), known)


def _currents(gathered: Gathered, known: _Map) -> dict[str, Current]:
    keys = known.keys
    found = {}
    for ident, seen in gathered.seen.items():
        key = keys.get(ident) or f"id:{ident}"
        found[key] = Current(
            key=key,
            name=seen.name,
            env_workflow_id=ident,
            content_hash=seen.fingerprint.content_hash(keys),
            active=seen.active,
            webhooks=tuple(gathered.extras[ident].get("webhooks") or ()),
            tags=tuple(seen.tags),
            draft_hash=_draft_hash(seen, keys),
            archived=seen.facts.archived,
            facts=seen.facts,
            calls=tuple(calls_in(gathered.extras[ident])),
        )
    return found


def _draft_hash(seen: SeenWorkflow, keys: Mapping[str, str]) -> str | None:
    if seen.draft is None:
        return None
    found = seen.draft.content_hash(keys)
    return found if found != seen.fingerprint.content_hash(keys) else None


def plan_against(
    environment: Environment,
    snapshot: Snapshot,
    current: Mapping[str, Current],
    options: Options,
    *,
    instance: Instance,
    lacks: Callable[[Collection[str]], Collection[str]],
) -> Plan:
    """The plan, with everything that would dangle. ``lacks`` names types of credential that the instance has not."""
    with tenant_scope(environment.tenant_id):
        known = _map(environment)
        book = credential_book(environment, snapshot, instance.listed)
    entries = services.entries_of(snapshot)
    plan = plan_restore(entries=entries, current=current, options=options, ignored=known.ignored)
    check_facts(plan, instance.offers)
    chosen = {item.key for item in plan.to_write}
    contents: dict[str, bytes] = {}
    drafts: dict[str, bytes] = {}
    if chosen:
        try:
            contents = {entry["key"]: data for entry, data in services.load_bytes(snapshot, chosen)}
            drafts = services.load_drafts(snapshot, chosen)
        except SnapshotUnreadable as error:
            plan.problems.append({"code": error.code, "key": error.details.get("key", ""), "message": error.message})

    def load(key: str) -> Mapping[str, Any]:
        try:
            return parse(contents[key])
        except ContentError as error:
            raise LookupError(key) from error

    target = Target(
        origin={**known.keys, **key_map(entries, services.references_of(snapshot))},
        current=current,
        book=book,
        same_environment=snapshot.environment_id == environment.pk,
        checks_structure=instance.checks_structure,
        creates_credentials=bool(instance.offers.get("create_credential")),
        chooses_ids=bool(instance.offers.get("choose_credential_id")),
        publishes_callees=publishes_callees(instance.offers),
        lacks=lacks,
    )
    check_needs(plan, load=load, load_draft=lambda key: parse(drafts[key]) if key in drafts else None, to=target)
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
    rows: list[tuple[str, str, str]]
    if listed is not None:
        rows = [(c["type"], c["name"], c["id"]) for c in listed]
    else:
        rows = list(
            KnownCredential.objects.filter(environment_id=environment.pk, is_gone=False).values_list(
                "credential_type", "name", "credential_id"
            )
        )
    around = surroundings.stored(environment.tenant_id, environment.pk)
    rows += [(DATA_TABLE, table.name, table.id) for table in around.data_tables or ()]
    by_name: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name, ident in rows:
        by_name[kind, name] = (*by_name.get((kind, name), ()), ident)
    mapped: dict[tuple[str, str], CredentialRef] = {}
    if snapshot.environment_id != environment.pk:
        for m in CredentialMapping.objects.filter(
            source_environment_id=snapshot.environment_id, target_environment_id=environment.pk
        ):
            target = CredentialRef(id=m.target_credential_id, name=m.target_name)
            if m.source_credential_id:
                mapped[m.credential_type, m.source_credential_id] = target
            mapped.setdefault((m.credential_type, m.source_name), target)
    return CredentialBook(
        ids=frozenset((kind, ident) for kind, _, ident in rows),
        by_name=by_name,
        listed=listed is not None,
        mapped=mapped,
        unready=frozenset((stub.type, stub.id) for stub in waiting_for_secrets(environment)),
    )


def _map(environment: Environment) -> _Map:
    ignored = WorkflowEnvMap.objects.filter(environment_id=environment.pk, status=MapStatus.IGNORED)
    return _Map(
        keys=identity.key_by_workflow_id(environment.pk),
        ignored=frozenset(ignored.values_list("canonical_workflow__key", flat=True)),
    )
