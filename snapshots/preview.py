"""What a restore would do to an environment as it is this minute; nothing is written anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsconsole.core.errors import OpsError
from tenants.scope import tenant_scope
from workflows import identity, surroundings
from workflows.content import ContentError, parse
from workflows.gateway import client_for, environment_by_id
from workflows.identity import SeenWorkflow
from workflows.models import CredentialMapping, Environment, KnownCredential, MapStatus, WorkflowEnvMap
from workflows.n8n.errors import N8nError
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef

from . import services
from .errors import PreviewFailed, SnapshotUnreadable
from .gathering import Gathered, gather
from .manifest import key_map
from .models import Snapshot
from .planning import CredentialBook, Current, Options, Plan, check_facts, check_references, plan_restore

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient


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
) -> Plan:
    """Look at the environment now and compare. Call outside any scope.

    Raises ``NotFound``, ``PreviewFailed`` (REST_001) where the environment cannot be read and ``SnapshotUnreadable``.
    """
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = services.snapshot_by_id(tenant_id, snapshot_id)
    options = Options(
        keys=frozenset(keys) if keys is not None else None,
        overwrite_existing=overwrite_existing,
        delete_extra=delete_extra,
    )
    try:
        with client_for(environment) as client:
            current = look(environment, client)
            offers = offered(client)
            listed = credentials_listed(client)
            return plan_against(environment, snapshot, current, options, listed=listed, offers=offers)
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
    listed: list[dict[str, Any]] | None,
    offers: Mapping[str, bool],
) -> Plan:
    """The plan, with everything that would dangle. ``listed`` is n8n's own list of credentials, where it has one;
    ``offers`` are the capabilities of the instance."""
    with tenant_scope(environment.tenant_id):
        known = _map(environment)
        book = credential_book(environment, snapshot, listed)
    entries = services.entries_of(snapshot)
    plan = plan_restore(entries=entries, current=current, options=options, ignored=known.ignored)
    check_facts(plan, offers)
    chosen = {item.key for item in plan.to_write}
    contents: dict[str, bytes] = {}
    if chosen:
        try:
            contents = {entry["key"]: data for entry, data in services.load_bytes(snapshot, chosen)}
        except SnapshotUnreadable as error:
            plan.problems.append({"code": error.code, "key": error.details.get("key", ""), "message": error.message})

    def load(key: str) -> Mapping[str, Any]:
        try:
            return parse(contents[key])
        except ContentError as error:
            raise LookupError(key) from error

    check_references(
        plan,
        load=load,
        origin={**known.keys, **key_map(entries, services.references_of(snapshot))},
        present=current.keys(),
        book=book,
        same_environment=snapshot.environment_id == environment.pk,
    )
    return plan


def offered(client: N8nClient) -> dict[str, bool]:
    """What the instance can do, as far as its licence lets it."""
    return client.spec().capabilities() | {"move_to_folder": client.has_folders()}


def credentials_listed(client: N8nClient) -> list[dict[str, Any]] | None:
    """n8n's list of credentials, or None where this version (or key) does not give it."""
    try:
        return client.list_credentials()
    except OpsError:
        return None


def credential_book(
    environment: Environment, snapshot: Snapshot, listed: list[dict[str, Any]] | None
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
    )


def _map(environment: Environment) -> _Map:
    ignored = WorkflowEnvMap.objects.filter(environment_id=environment.pk, status=MapStatus.IGNORED)
    return _Map(
        keys=identity.key_by_workflow_id(environment.pk),
        ignored=frozenset(ignored.values_list("canonical_workflow__key", flat=True)),
    )
