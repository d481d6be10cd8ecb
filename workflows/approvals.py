"""What is approved of the workflows of an environment, as ``env/<slug>`` in Git has it, on their rows.

Everything here joins the caller's transaction in the tenant's scope.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from psycopg.types.json import Jsonb

from core import clock
from tenants.scope import tenant_scope

from .facts import Facts
from .identity_keys import lock_identities
from .models import CanonicalWorkflow, MapStatus, WorkflowEnvMap


@dataclass(frozen=True, slots=True)
class Approval:
    """What is approved of one workflow; ``content_hash`` None: it is no longer approved."""

    content_hash: str | None = None
    active: bool | None = None
    draft_hash: str | None = None
    facts: Facts | None = None


#: No longer approved.
WITHDRAWN = Approval()


def mark_approved(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, approvals: Mapping[str, Approval], whole: bool = False
) -> set[str]:
    """Record what ``env/<slug>`` holds now, by key.

    With ``whole`` that is all of it: what is not named is no longer approved. Returns the keys that have no mapping in
    the environment (nothing was written for those). A missing workflow whose absence is approved becomes *deleted*.
    Rows that say so already are not written.
    """
    if not approvals and not whole:
        return set()
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        rows = _approved_rows(environment_id)
        if whole:
            approvals = {**{row.key: WITHDRAWN for row in rows if row.approved.content_hash}, **approvals}
        _write(dict(_changes(rows, approvals)))
        return approvals.keys() - {row.key for row in rows}


def _changes(rows: Iterable[_Row], approvals: Mapping[str, Approval]) -> Iterator[tuple[uuid.UUID, _Approved]]:
    for row in rows:
        if row.key in approvals:
            wanted = _Approved.of(approvals[row.key])
            if row.differs_from(wanted):
                yield row.pk, wanted


class _Approved(NamedTuple):
    """The columns of a row that say what is approved."""

    content_hash: str | None
    active: bool | None
    draft_hash: str | None
    facts: dict[str, Any] | None

    @classmethod
    def of(cls, approval: Approval) -> _Approved:
        facts = approval.facts.to_json() if approval.facts is not None else None
        return cls(approval.content_hash, approval.active, approval.draft_hash, facts)


class _Row(NamedTuple):
    """A mapping: its key, and what its columns say."""

    pk: uuid.UUID
    key: str
    approved: _Approved
    has_fingerprint: bool
    status: str

    def differs_from(self, wanted: _Approved) -> bool:
        if self.approved != wanted:
            return True
        return not self.has_fingerprint if self.approved.content_hash else self.status == MapStatus.MISSING


def _approved_rows(environment_id: uuid.UUID) -> list[_Row]:
    keys = dict(CanonicalWorkflow.objects.values_list("pk", "key"))  # no join: see identity_keys._with_keys
    has_fingerprint = ExpressionWrapper(Q(git_fingerprint__isnull=False), output_field=BooleanField())
    rows = (
        WorkflowEnvMap.objects.filter(environment_id=environment_id)
        .annotate(has_fingerprint=has_fingerprint)
        .values_list(
            "pk",
            "canonical_workflow_id",
            "git_content_hash",
            "git_active",
            "git_draft_hash",
            "git_facts",
            "has_fingerprint",
            "status",
        )
    )
    return [
        _Row(pk, keys[canonical_id], _Approved(content_hash, active, draft_hash, facts), has_fingerprint, status)
        for pk, canonical_id, content_hash, active, draft_hash, facts, has_fingerprint, status in rows
    ]


def _write(approved: Mapping[uuid.UUID, _Approved]) -> None:
    if not approved:
        return
    values = list(approved.values())
    with connection.cursor() as cursor:
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
                list(approved),
                [value.content_hash for value in values],
                [value.active for value in values],
                [value.draft_hash for value in values],
                [Jsonb(value.facts) if value.facts is not None else None for value in values],
            ],
        )


def mark_deleted(*, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Iterable[str]) -> int:
    """Record that the console removed workflows from the environment on purpose; returns how many."""
    with tenant_scope(tenant_id):
        canonicals = list(CanonicalWorkflow.objects.filter(key__in=list(keys)).values_list("pk", flat=True))
        return WorkflowEnvMap.objects.filter(
            environment_id=environment_id, canonical_workflow_id__in=canonicals
        ).update(status=MapStatus.DELETED, updated_at=clock.now())
