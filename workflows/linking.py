"""What people and the console itself decide about identities: link, separate, ignore, bind.

Everything here joins the caller's transaction in the tenant's scope.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from core import clock
from core.errors import Invalid, NotFound
from core.notices import notify
from tenants.scope import tenant_scope

from .content import NORMALIZATION_VERSION, suggest_key
from .errors import DuplicateId, MappingGone, MappingTaken
from .identity_keys import key_by_workflow_id, lock_identities
from .models import CanonicalWorkflow, MapStatus, WorkflowEnvMap
from .stored_fingerprints import loaded_draft_fingerprint, loaded_fingerprint

#: What keys look like; ``suggest_key`` makes no others.
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,119}")


@dataclass(frozen=True, slots=True)
class Relinked:
    """A mapping that changed its key: content kept under the old key in Git belongs to the new one. For
    in-transaction handlers."""

    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    map_id: uuid.UUID
    old_key: str
    new_key: str


def link(*, tenant_id: uuid.UUID, map_id: uuid.UUID, key: str) -> WorkflowEnvMap:
    """Decide that a mapping is the workflow ``key``: it takes that key, and the hashes of its callers follow.

    If that workflow was only *missing* or *deleted* here, the mapping takes over what was approved of it. Raises
    ``MappingTaken`` where it lives here already under another id.
    """
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        mapping = _locked_mapping(map_id)
        canonical = CanonicalWorkflow.objects.filter(key=key).first()
        if canonical is None:
            raise NotFound(f"This tenant has no workflow with the key “{key}”.")
        if canonical.pk == mapping.canonical_workflow_id:
            return _set_status(mapping, MapStatus.LINKED)
        other = (
            WorkflowEnvMap.objects.select_for_update()
            .filter(environment_id=mapping.environment_id, canonical_workflow=canonical)
            .first()
        )
        if other is not None:
            _replace(other, mapping, key)
        return _move(mapping, canonical)


def _replace(other: WorkflowEnvMap, mapping: WorkflowEnvMap, key: str) -> None:
    """Delete the mapping of a workflow that is gone; what was approved of it goes over to ``mapping``."""
    if other.status not in (MapStatus.MISSING, MapStatus.DELETED):
        raise MappingTaken(details={"key": key, "env_workflow_id": other.env_workflow_id})
    if other.git_content_hash and not mapping.git_content_hash:
        for column in _APPROVED_COLUMNS:
            setattr(mapping, column, getattr(other, column))
    other.delete()


_APPROVED_COLUMNS = ("git_content_hash", "git_active", "git_fingerprint", "git_draft_hash", "git_facts")


def separate(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Decide that a mapping is a workflow of its own: it gets a key that no other has."""
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        mapping = _locked_mapping(map_id)
        shared = WorkflowEnvMap.objects.filter(canonical_workflow_id=mapping.canonical_workflow_id).exclude(pk=map_id)
        if not shared.exists():
            return _set_status(mapping, MapStatus.LINKED)
        taken = set(CanonicalWorkflow.objects.values_list("key", flat=True))
        canonical = CanonicalWorkflow.objects.create(
            tenant_id=tenant_id, key=suggest_key(mapping.env_name, taken), name=mapping.env_name
        )
        return _move(mapping, canonical)


def confirm(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Confirm an unmapped mapping as it is."""
    with tenant_scope(tenant_id):
        return _set_status(_locked_mapping(map_id), MapStatus.LINKED)


def ignore(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Leave a mapping out of drift, promotions and the matrix; it is still captured."""
    with tenant_scope(tenant_id):
        return _set_status(_locked_mapping(map_id), MapStatus.IGNORED)


def restore_ignored(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Include an ignored mapping again."""
    with tenant_scope(tenant_id):
        return _set_status(_locked_mapping(map_id), MapStatus.LINKED)


def make_known(*, tenant_id: uuid.UUID, names: Mapping[str, str]) -> None:
    """Create the canonical workflows (key to name) that the tenant lacks: their rows were lost, Git still has them.

    Raises ``Invalid`` for a key that cannot be a file's name in Git.
    """
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        known = set(CanonicalWorkflow.objects.filter(key__in=list(names)).values_list("key", flat=True))
        fresh = {key: name for key, name in names.items() if key not in known}
        wrong = next((key for key in fresh if not KEY.fullmatch(key)), None)
        if wrong is not None:
            raise Invalid(f"“{wrong[:80]}” cannot be the key of a workflow.", details={"key": wrong[:200]})
        CanonicalWorkflow.objects.bulk_create(
            [CanonicalWorkflow(tenant_id=tenant_id, key=key, name=name[:500]) for key, name in fresh.items()]
        )


def bind(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, ids: Mapping[str, str]) -> None:
    """Record which n8n ids workflows got that the console itself created: key to n8n id.

    To be called with the write's result, before the next capture. Where a capture came in between and took one for a
    new workflow, its mapping is merged into the right one. Raises ``NotFound`` for an unknown key, ``DuplicateId``
    where another workflow has the id.
    """
    if not ids:
        return
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        wanted = _canonical_ids(ids)
        here = WorkflowEnvMap.objects.select_for_update().filter(environment_id=environment_id)
        mistaken = [
            mapping.pk
            for mapping in here.filter(env_workflow_id__in=list(ids.values())).exclude(status=MapStatus.DELETED)
            if wanted.get(mapping.canonical_workflow_id) != mapping.env_workflow_id
        ]
        if mistaken:
            WorkflowEnvMap.objects.filter(pk__in=mistaken).delete()
        present = {m.canonical_workflow_id: m for m in here.filter(canonical_workflow_id__in=list(wanted))}
        fresh = [
            _bound(
                WorkflowEnvMap(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    canonical_workflow_id=canonical_id,
                    normalization_version=NORMALIZATION_VERSION,
                ),
                workflow_id,
            )
            for canonical_id, workflow_id in wanted.items()
            if canonical_id not in present
        ]
        changed = [_bound(mapping, wanted[canonical_id]) for canonical_id, mapping in present.items()]
        try:
            with transaction.atomic():
                WorkflowEnvMap.objects.bulk_update(changed, ["env_workflow_id", "status", "updated_at"], batch_size=500)
                WorkflowEnvMap.objects.bulk_create(fresh, batch_size=1000)
        except IntegrityError as error:
            raise DuplicateId(details={"keys": sorted(ids)[:20]}) from error


def _canonical_ids(ids: Mapping[str, str]) -> dict[uuid.UUID, str]:
    """Canonical id to n8n id, out of key to n8n id."""
    canonicals = dict(CanonicalWorkflow.objects.filter(key__in=list(ids)).values_list("key", "pk"))
    unknown = sorted(set(ids) - set(canonicals))
    if unknown:
        raise NotFound(f"This tenant has no workflow with the key “{unknown[0]}”.", details={"keys": unknown[:20]})
    return {canonicals[key]: workflow_id for key, workflow_id in ids.items()}


def _bound(mapping: WorkflowEnvMap, workflow_id: str) -> WorkflowEnvMap:
    mapping.env_workflow_id = workflow_id
    if mapping.status != MapStatus.IGNORED:
        mapping.status = MapStatus.LINKED
    mapping.updated_at = clock.now()
    return mapping


def _locked_mapping(map_id: uuid.UUID) -> WorkflowEnvMap:
    mapping = WorkflowEnvMap.objects.select_for_update().filter(pk=map_id).first()
    if mapping is None:
        raise NotFound
    if mapping.status == MapStatus.DELETED:
        raise MappingGone
    return mapping


def _set_status(mapping: WorkflowEnvMap, status: MapStatus) -> WorkflowEnvMap:
    if mapping.status == MapStatus.MISSING and status == MapStatus.LINKED:
        return mapping
    if mapping.status != status:
        mapping.status = status
        mapping.save(update_fields=["status", "updated_at"])
    return mapping


def _move(mapping: WorkflowEnvMap, canonical: CanonicalWorkflow) -> WorkflowEnvMap:
    """Give a mapping another canonical workflow. The old key stays reserved: Git's history knows it."""
    before = key_by_workflow_id(mapping.environment_id)
    old_key = before.get(mapping.env_workflow_id) or mapping.canonical_workflow.key
    mapping.canonical_workflow = canonical
    if mapping.status != MapStatus.MISSING:
        mapping.status = MapStatus.LINKED
    mapping.save()
    if mapping.env_workflow_id:
        rehash_callers(
            environment_id=mapping.environment_id,
            env_workflow_id=mapping.env_workflow_id,
            before=before,
            after={**before, mapping.env_workflow_id: canonical.key},
        )
    mapping.refresh_from_db()
    notify(Relinked(mapping.tenant_id, mapping.environment_id, mapping.pk, old_key, canonical.key))
    return mapping


def rehash_callers(
    *, environment_id: uuid.UUID, env_workflow_id: str, before: Mapping[str, str], after: Mapping[str, str]
) -> int:
    """Recompute the hashes of what refers to a workflow that got another key; returns how many rows.

    Behaviour has not changed, so what was in sync stays in sync.
    """
    calls = {"refs": [env_workflow_id]}
    rows = list(
        WorkflowEnvMap.objects.filter(environment_id=environment_id, fingerprint__contains=calls)
        | WorkflowEnvMap.objects.filter(environment_id=environment_id, git_fingerprint__contains=calls)
    )
    for row in rows:
        _rehash(row, before, after)
    WorkflowEnvMap.objects.bulk_update(
        rows,
        ["env_content_hash", "comparable_hash", "git_content_hash", "env_draft_hash", "git_draft_hash"],
        batch_size=500,
    )
    return len(rows)


def _rehash(row: WorkflowEnvMap, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    seen, approved = loaded_fingerprint(row.fingerprint), loaded_fingerprint(row.git_fingerprint)
    if seen is not None:
        row.env_content_hash, row.comparable_hash = seen.content_hash(after), seen.comparable_hash(after)
    if approved is not None and approved.content_hash(before) == row.git_content_hash:
        row.git_content_hash = approved.content_hash(after)
    draft = loaded_draft_fingerprint(row.fingerprint)
    if draft is not None and row.env_draft_hash:
        in_sync = row.git_draft_hash == row.env_draft_hash
        row.env_draft_hash = draft.content_hash(after)
        row.git_draft_hash = row.env_draft_hash if in_sync else row.git_draft_hash
