"""What people and the console itself decide about identities: link, separate, ignore, approve, bind.

Everything here joins the caller's transaction in the tenant's scope.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from psycopg.types.json import Jsonb

from core import clock
from core.errors import Invalid, NotFound
from core.notices import notify
from tenants.scope import tenant_scope

from .content import NORMALIZATION_VERSION, suggest_key
from .errors import DuplicateId, PlaceGone, PlaceTaken
from .facts import Facts
from .models import CanonicalWorkflow, MapStatus, WorkflowEnvMap

#: What keys look like; ``suggest_key`` makes none else.
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,119}")


@dataclass(frozen=True, slots=True)
class Approval:
    """What is approved of one workflow; ``content_hash`` None: it is no longer approved."""

    content_hash: str | None = None
    active: bool | None = None
    draft_hash: str | None = None
    facts: Facts | None = None


#: No longer approved.
WITHDRAWN = Approval()


@dataclass(frozen=True, slots=True)
class Relinked:
    """A place that changed its key: content kept under the old key in Git belongs to the new one. For in-transaction
    handlers."""

    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    map_id: uuid.UUID
    old_key: str
    new_key: str


def link(*, tenant_id: uuid.UUID, map_id: uuid.UUID, key: str) -> WorkflowEnvMap:
    """Say that a place is the workflow ``key``: it takes that key, and the hashes of its callers follow.

    If that workflow was only *missing* or *deleted* here, the place takes over what was approved of it. Raises
    ``PlaceTaken`` where it lives here already under another id.
    """
    with tenant_scope(tenant_id):
        _lock(tenant_id)
        place = _place(map_id)
        canonical = CanonicalWorkflow.objects.filter(key=key).first()
        if canonical is None:
            raise NotFound(f"This tenant has no workflow with the key “{key}”.")
        if canonical.pk == place.canonical_workflow_id:
            return _set_status(place, MapStatus.LINKED)
        other = (
            WorkflowEnvMap.objects.select_for_update()
            .filter(environment_id=place.environment_id, canonical_workflow=canonical)
            .first()
        )
        if other is not None:
            if other.status not in (MapStatus.MISSING, MapStatus.DELETED):
                raise PlaceTaken(details={"key": key, "env_workflow_id": other.env_workflow_id})
            if other.git_content_hash and not place.git_content_hash:
                place.git_content_hash, place.git_active = other.git_content_hash, other.git_active
                place.git_fingerprint = other.git_fingerprint
                place.git_draft_hash, place.git_facts = other.git_draft_hash, other.git_facts
            other.delete()
        return _move(place, canonical)


def separate(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Say that a place is a workflow of its own: it gets a key nobody else has."""
    with tenant_scope(tenant_id):
        _lock(tenant_id)
        place = _place(map_id)
        shared = WorkflowEnvMap.objects.filter(canonical_workflow_id=place.canonical_workflow_id).exclude(pk=map_id)
        if not shared.exists():
            return _set_status(place, MapStatus.LINKED)
        taken = set(CanonicalWorkflow.objects.values_list("key", flat=True))
        canonical = CanonicalWorkflow.objects.create(
            tenant_id=tenant_id, key=suggest_key(place.env_name, taken), name=place.env_name
        )
        return _move(place, canonical)


def confirm(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Say that an unmapped place is right as it stands."""
    with tenant_scope(tenant_id):
        return _set_status(_place(map_id), MapStatus.LINKED)


def ignore(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Leave a place out of drift, promotions and the matrix; it is still captured."""
    with tenant_scope(tenant_id):
        return _set_status(_place(map_id), MapStatus.IGNORED)


def restore_ignored(*, tenant_id: uuid.UUID, map_id: uuid.UUID) -> WorkflowEnvMap:
    """Take an ignored place back in."""
    with tenant_scope(tenant_id):
        return _set_status(_place(map_id), MapStatus.LINKED)


def mark_approved(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, approvals: Mapping[str, Approval], whole: bool = False
) -> set[str]:
    """Take down what ``env/<slug>`` holds now, by key.

    With ``whole`` that is all of it: what is not named is no longer approved. Returns the keys that have no place in
    the environment (nothing was written for those). A missing workflow whose absence is approved becomes *deleted*.
    Rows that say so already are not written.
    """
    if not approvals and not whole:
        return set()
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        _lock(tenant_id)
        places = WorkflowEnvMap.objects.filter(environment_id=environment_id)
        keys = dict(CanonicalWorkflow.objects.values_list("pk", "key"))  # no join: see identity._with_keys
        no_mark = ExpressionWrapper(Q(git_fingerprint__isnull=True), output_field=BooleanField())
        rows = list(
            places.annotate(unmarked=no_mark).values_list(
                "pk",
                "canonical_workflow_id",
                "git_content_hash",
                "git_active",
                "git_draft_hash",
                "git_facts",
                "unmarked",
                "status",
            )
        )
        if whole:
            approved = {keys[of] for _, of, git_hash, *_ in rows if git_hash}
            approvals = {**dict.fromkeys(approved - approvals.keys(), WITHDRAWN), **approvals}
        placed = {keys[of] for _, of, *_ in rows} & approvals.keys()
        stored = {key: _stored(approvals[key]) for key in placed}
        ids = {
            keys[of]: pk
            for pk, of, git_hash, git_active, git_draft, git_facts, unmarked, status in rows
            if keys[of] in placed
            and (
                (git_hash, git_active, git_draft, git_facts) != stored[keys[of]]
                or (unmarked if git_hash else status == MapStatus.MISSING)
            )
        }
        if not ids:
            return approvals.keys() - placed
        values = [stored[key] for key in ids]
        # Joined on an array of primary keys: behind row security the planner guesses badly about anything cleverer.
        cursor.execute(
            "UPDATE workflow_env_map m SET git_content_hash = v.hash, git_active = v.active,"
            " git_draft_hash = v.draft, git_facts = v.facts,"
            " git_fingerprint = CASE WHEN v.hash IS NULL THEN NULL WHEN m.env_content_hash = v.hash THEN m.fingerprint"
            "   WHEN m.git_content_hash = v.hash THEN m.git_fingerprint END,"
            " status = CASE WHEN v.hash IS NULL AND m.status = 'missing' THEN 'deleted' ELSE m.status END,"
            " updated_at = %s"
            " FROM unnest(%s::uuid[], %s::text[], %s::boolean[], %s::text[], %s::jsonb[])"
            " AS v(id, hash, active, draft, facts) WHERE m.id = v.id",
            [
                clock.now(),
                list(ids.values()),
                [value[0] for value in values],
                [value[1] for value in values],
                [value[2] for value in values],
                [Jsonb(value[3]) if value[3] is not None else None for value in values],
            ],
        )
        return approvals.keys() - placed


def _stored(approval: Approval) -> tuple[str | None, bool | None, str | None, dict[str, Any] | None]:
    facts = approval.facts.to_json() if approval.facts is not None else None
    return approval.content_hash, approval.active, approval.draft_hash, facts


def mark_deleted(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Iterable[str]) -> int:
    """Take down that the console removed workflows from the environment on purpose; how many."""
    with tenant_scope(tenant_id):
        canonicals = list(CanonicalWorkflow.objects.filter(key__in=list(keys)).values_list("pk", flat=True))
        return WorkflowEnvMap.objects.filter(
            environment_id=environment_id, canonical_workflow_id__in=canonicals
        ).update(status=MapStatus.DELETED, updated_at=clock.now())


def make_known(*, tenant_id: uuid.UUID, names: Mapping[str, str]) -> None:
    """Make the tenant know workflows by key (key to name), where it does not: their rows were lost, Git's were not.

    Raises ``Invalid`` for a key that cannot be a file's name in Git.
    """
    with tenant_scope(tenant_id):
        _lock(tenant_id)
        known = set(CanonicalWorkflow.objects.filter(key__in=list(names)).values_list("key", flat=True))
        fresh = {key: name for key, name in names.items() if key not in known}
        wrong = next((key for key in fresh if not KEY.fullmatch(key)), None)
        if wrong is not None:
            raise Invalid(f"“{wrong[:80]}” cannot be the key of a workflow.", details={"key": wrong[:200]})
        CanonicalWorkflow.objects.bulk_create(
            [CanonicalWorkflow(tenant_id=tenant_id, key=key, name=name[:500]) for key, name in fresh.items()]
        )


def bind(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, ids: Mapping[str, str]) -> None:
    """Take down which n8n ids workflows got that the console itself created: key to n8n id.

    To be called with the write's result, before the next capture. Where a capture came in between and took one for a
    stranger, the stranger's place is merged into the right one.
    """
    if not ids:
        return
    with tenant_scope(tenant_id):
        _lock(tenant_id)
        canonicals = dict(CanonicalWorkflow.objects.filter(key__in=list(ids)).values_list("key", "pk"))
        unknown = sorted(set(ids) - set(canonicals))
        if unknown:
            raise NotFound(f"This tenant has no workflow with the key “{unknown[0]}”.", details={"keys": unknown[:20]})
        here = WorkflowEnvMap.objects.select_for_update().filter(environment_id=environment_id)
        wanted = {canonicals[key]: ident for key, ident in ids.items()}
        strangers = [
            p
            for p in here.filter(env_workflow_id__in=list(ids.values())).exclude(status=MapStatus.DELETED)
            if wanted.get(p.canonical_workflow_id) != p.env_workflow_id
        ]
        if strangers:
            WorkflowEnvMap.objects.filter(pk__in=[p.pk for p in strangers]).delete()
        present = {p.canonical_workflow_id: p for p in here.filter(canonical_workflow_id__in=list(wanted))}
        fresh = []
        changed = []
        for canonical_id, ident in wanted.items():
            place = present.get(canonical_id)
            if place is None:
                place = WorkflowEnvMap(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    canonical_workflow_id=canonical_id,
                    normalization_version=NORMALIZATION_VERSION,
                )
                fresh.append(place)
            else:
                changed.append(place)
            place.env_workflow_id = ident
            if place.status != MapStatus.IGNORED:
                place.status = MapStatus.LINKED
            place.updated_at = clock.now()
        try:
            with transaction.atomic():
                WorkflowEnvMap.objects.bulk_update(changed, ["env_workflow_id", "status", "updated_at"], batch_size=500)
                WorkflowEnvMap.objects.bulk_create(fresh, batch_size=1000)
        except IntegrityError as error:
            raise DuplicateId(details={"keys": sorted(ids)[:20]}) from error


def _lock(tenant_id: uuid.UUID) -> None:
    from .identity import lock_identities

    lock_identities(tenant_id)


def _place(map_id: uuid.UUID) -> WorkflowEnvMap:
    place = WorkflowEnvMap.objects.select_for_update().filter(pk=map_id).first()
    if place is None:
        raise NotFound
    if place.status == MapStatus.DELETED:
        raise PlaceGone
    return place


def _set_status(place: WorkflowEnvMap, status: MapStatus) -> WorkflowEnvMap:
    if place.status == MapStatus.MISSING and status == MapStatus.LINKED:
        return place
    if place.status != status:
        place.status = status
        place.save(update_fields=["status", "updated_at"])
    return place


def _move(place: WorkflowEnvMap, canonical: CanonicalWorkflow) -> WorkflowEnvMap:
    """Give a place another canonical workflow. The old key stays reserved: Git's history knows it."""
    from .identity import key_by_workflow_id

    before = key_by_workflow_id(place.environment_id)
    old_key = before.get(place.env_workflow_id) or place.canonical_workflow.key
    place.canonical_workflow = canonical
    if place.status != MapStatus.MISSING:
        place.status = MapStatus.LINKED
    place.save()
    if place.env_workflow_id:
        rehash_callers(
            environment_id=place.environment_id,
            env_workflow_id=place.env_workflow_id,
            before=before,
            after={**before, place.env_workflow_id: canonical.key},
        )
    place.refresh_from_db()
    notify(Relinked(place.tenant_id, place.environment_id, place.pk, old_key, canonical.key))
    return place


def rehash_callers(
    *, environment_id: uuid.UUID, env_workflow_id: str, before: Mapping[str, str], after: Mapping[str, str]
) -> int:
    """Recompute the hashes of what refers to a workflow that got another key; how many rows.

    Behaviour has not changed, so what was in sync stays in sync.
    """
    from .identity import loaded_fingerprint

    calls = {"refs": [env_workflow_id]}
    rows = list(
        WorkflowEnvMap.objects.filter(environment_id=environment_id, fingerprint__contains=calls)
        | WorkflowEnvMap.objects.filter(environment_id=environment_id, git_fingerprint__contains=calls)
    )
    for row in rows:
        seen, approved = loaded_fingerprint(row.fingerprint), loaded_fingerprint(row.git_fingerprint)
        if seen is not None:
            row.env_content_hash, row.comparable_hash = seen.content_hash(after), seen.comparable_hash(after)
        if approved is not None and approved.content_hash(before) == row.git_content_hash:
            row.git_content_hash = approved.content_hash(after)
        draft = loaded_fingerprint((row.fingerprint or {}).get("draft"))
        if draft is not None and row.env_draft_hash:
            same = row.git_draft_hash == row.env_draft_hash
            row.env_draft_hash = draft.content_hash(after)
            row.git_draft_hash = row.env_draft_hash if same else row.git_draft_hash
    WorkflowEnvMap.objects.bulk_update(
        rows,
        ["env_content_hash", "comparable_hash", "git_content_hash", "env_draft_hash", "git_draft_hash"],
        batch_size=500,
    )
    return len(rows)
