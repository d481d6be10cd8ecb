"""What the gates judge, read at one moment: in one transaction that sees one state of the database.

The verdicts themselves are in ``gates`` and read nothing.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from django.db import connection, transaction

from core import clock
from core.documents import Document
from core.errors import NotFound
from operations.models import Operation, holding
from promotions.models import Promotion, PromotionStatus
from snapshots.selectors import set_aside_by_environment
from tenants.scope import tenant_scope
from workflows.models import CredentialMapping, Environment, KnownCredential, WorkflowEnvMap

from . import drift_incidents
from .documents import Plan, plan_hash, read_plan
from .drift_incidents import BlockingIncident
from .inputs import PRESENT

Side = Literal["source", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSeen:
    """A workflow of the plan in one of its environments, as seen last."""

    content_hash: str | None
    draft_hash: str | None
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSeen:
    """A credential of the target that the plan points to; ``test_state`` is what n8n's own test told last."""

    id: str
    name: str
    type: str
    needs_secret: bool = False
    test_state: str = ""
    test_message: str = ""


class LockHolder(Document, frozen=True, kw_only=True):
    """The job that writes into the target."""

    operation_id: str
    title: str
    kind: str
    status: str


class DriftedInSource(Document, frozen=True, kw_only=True):
    """A chosen workflow whose drift in the source nobody has settled: what moves is what runs there, not what is
    approved there."""

    incident_id: str
    key: str
    name: str
    word: str
    severity: str


class HoldingPromotion(Document, frozen=True, kw_only=True):
    """The promotion that left the target neither wholly new nor proven to be as before."""

    promotion_id: str
    name: str


class SetAside(Document, frozen=True, kw_only=True):
    """A workflow that the last capture of one of the environments could not take in; ``key`` is empty for a new one."""

    side: Side
    key: str
    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredMappings:
    """Target ids of the mappings that people entered: for a name, for an id, and names whose mapping has an id."""

    by_name: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_id: Mapping[tuple[str, str], str] = field(default_factory=dict)
    name_of_id: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """Everything that the gates of one promotion judge, of one moment (``now``).

    ``plan_is_as_locked`` is False where the stored plan is not the one that was submitted.
    """

    now: datetime
    plan: Plan
    source_name: str
    target_name: str
    status: str = PromotionStatus.DRAFT
    needs_approval: bool = False
    decided_at: datetime | None = None
    plan_is_as_locked: bool = True
    source_captured_at: datetime | None = None
    source_capture_error: str = ""
    seen: Mapping[tuple[Side, str], WorkflowSeen] = field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    mappings: EnteredMappings = EnteredMappings()
    credentials: tuple[CredentialSeen, ...] = ()
    blocking_incidents: tuple[BlockingIncident, ...] = ()
    drifted_in_source: tuple[DriftedInSource, ...] = ()
    lock_holder: LockHolder | None = None
    holding_promotion: HoldingPromotion | None = None


def load_gate_facts(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, plan: Plan | None = None) -> GateFacts:
    """Read them. ``plan`` is judged instead of the stored one, where it is given. Raises ``NotFound``.

    Outside any scope; inside one, the transaction that is open already decides what it sees.
    """
    with _one_state_of_the_database(), tenant_scope(tenant_id):
        row = (
            Promotion.objects.select_related("source_environment", "target_environment").filter(pk=promotion_id).first()
        )
        if row is None:
            raise NotFound
        return _facts(row, plan)


@contextlib.contextmanager
def _one_state_of_the_database() -> Iterator[None]:
    """A transaction in which each query sees what the first one saw."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _facts(row: Promotion, given: Plan | None) -> GateFacts:
    source, target = row.source_environment, row.target_environment
    plan = given if given is not None else read_plan(row.plan)
    return GateFacts(
        now=clock.now(),
        plan=plan,
        source_name=source.name,
        target_name=target.name,
        status=row.status,
        needs_approval=needs_approval(row),
        decided_at=row.decided_at,
        plan_is_as_locked=given is not None or not row.plan_hash or plan_hash(row.plan or {}) == row.plan_hash,
        source_captured_at=source.last_captured_at,
        source_capture_error=source.last_capture_error or "",
        seen=_seen(row, plan),
        set_aside=_set_aside(row),
        mappings=_mappings(row),
        credentials=_credentials(row, plan),
        blocking_incidents=tuple(
            drift_incidents.blocking_incidents(tenant_id=row.tenant_id, environment_id=target.pk, keys=plan.keys)
        ),
        drifted_in_source=_drifted(row, plan),
        lock_holder=lock_holder(target.write_lock, own=row.operation_id),
        holding_promotion=holding_promotion(target.pk, own=row.pk),
    )


def _drifted(row: Promotion, plan: Plan) -> tuple[DriftedInSource, ...]:
    incidents = drift_incidents.open_incidents(tenant_id=row.tenant_id, environment_id=row.source_environment_id)
    return tuple(
        DriftedInSource(incident_id=one.id, key=item.key, name=item.name, word=one.word, severity=one.severity)
        for item in plan.items
        for one in incidents.get(item.key, ())
    )


def needs_approval(promotion: Promotion) -> bool:
    """A guarded target always, also one that was when the promotion was made; else when the promotion asks for it."""
    asked = promotion.options.get("require_approval") or promotion.options.get("guarded")
    return promotion.target_environment.is_guarded or bool(asked)


def lock_holder(write_lock: str, *, own: uuid.UUID | None = None) -> LockHolder | None:
    """The open job that holds a target's write lock, ``own`` left out. Needs the tenant's scope."""
    rows = Operation.objects.filter(holding(), exclusive_key=write_lock)
    row = (rows.exclude(pk=own) if own is not None else rows).first()
    if row is None:
        return None
    return LockHolder(operation_id=str(row.pk), title=row.title, kind=row.kind, status=row.status)


def holding_promotion(target_id: uuid.UUID, *, own: uuid.UUID | None = None) -> HoldingPromotion | None:
    """The latest promotion that needs attention and so holds a target, ``own`` left out. Needs the tenant's scope.

    No promotion writes into that target until this one is rolled back, or a person has looked and releases it.
    Restoring and stabilizing stay possible, for they are ways out.
    """
    rows = Promotion.objects.filter(target_environment_id=target_id, attention_since__isnull=False)
    others = rows.exclude(pk=own) if own is not None else rows
    row = others.only("id", "name", "attention_since").order_by("-attention_since").first()
    return HoldingPromotion(promotion_id=str(row.pk), name=row.name) if row is not None else None


def _seen(row: Promotion, plan: Plan) -> dict[tuple[Side, str], WorkflowSeen]:
    sides: dict[uuid.UUID, Side] = {row.source_environment_id: "source", row.target_environment_id: "target"}
    rows = WorkflowEnvMap.objects.filter(
        environment_id__in=sides, canonical_workflow__key__in=plan.keys, status__in=[str(s) for s in PRESENT]
    ).values_list("environment_id", "canonical_workflow__key", "env_content_hash", "env_draft_hash", "env_active")
    return {
        (sides[environment_id], key): WorkflowSeen(content_hash=found, draft_hash=draft, active=bool(active))
        for environment_id, key, found, draft, active in rows
    }


def _set_aside(row: Promotion) -> tuple[SetAside, ...]:
    sides: tuple[tuple[Side, Environment], ...] = (
        ("source", row.source_environment),
        ("target", row.target_environment),
    )
    aside = set_aside_by_environment([row.source_environment, row.target_environment])
    found = [(side, environment, finding) for side, environment in sides for finding in aside.get(environment.pk, ())]
    if not found:
        return ()
    rows = WorkflowEnvMap.objects.filter(
        environment_id__in=[environment.pk for _, environment, _ in found],
        env_workflow_id__in=[finding.env_workflow_id for _, _, finding in found],
    ).values_list("environment_id", "env_workflow_id", "canonical_workflow__key")
    keys = {(environment_id, workflow_id): key for environment_id, workflow_id, key in rows}
    return tuple(
        SetAside(
            side=side,
            key=keys.get((environment.pk, finding.env_workflow_id), ""),
            name=finding.label,
            message=finding.message,
        )
        for side, environment, finding in found
    )


def _mappings(row: Promotion) -> EnteredMappings:
    rows = list(
        CredentialMapping.objects.filter(
            source_environment_id=row.source_environment_id, target_environment_id=row.target_environment_id
        ).values_list("credential_type", "source_name", "source_credential_id", "target_credential_id")
    )
    return EnteredMappings(
        by_name={(kind, name): target for kind, name, source_id, target in rows if not source_id},
        by_id={(kind, source_id): target for kind, _name, source_id, target in rows if source_id},
        name_of_id={(kind, name): target for kind, name, source_id, target in rows if source_id},
    )


def _credentials(row: Promotion, plan: Plan) -> tuple[CredentialSeen, ...]:
    rows = KnownCredential.objects.filter(
        environment_id=row.target_environment_id, credential_id__in=plan.target_credential_ids
    )
    return tuple(
        CredentialSeen(
            id=one.credential_id,
            name=one.name,
            type=one.credential_type,
            needs_secret=one.needs_secret,
            test_state=one.test_state,
            test_message=one.test_message,
        )
        for one in rows
    )
