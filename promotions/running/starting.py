"""Services that start a promotion's jobs, and those that end it without one: cancel, release."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from audit.services import record_event
from core import clock
from core.errors import Invalid, NotFound
from operations import services as operations
from operations.errors import Busy
from operations.models import Operation
from operations.selectors import started_before
from promotions.domain_events import publish_state
from promotions.errors import ApprovalNeeded, NotOffered, PromotionNotConfirmed, TargetLocked, WrongState
from promotions.lifecycle import (
    CAN_ROLL_BACK,
    EXECUTE,
    PLANNABLE,
    PREPARE,
    ROLLBACK,
    TEST_CREDENTIALS,
    can_try_again,
    pre_snapshot_id,
)
from promotions.models import Promotion, PromotionStatus
from promotions.planning import gates
from promotions.planning.approval import submit
from promotions.planning.documents import read_plan
from promotions.planning.gate_facts import holding_promotion, load_gate_facts, lock_holder, needs_approval
from promotions.planning.offers import ChosenOffer, credentials_in_use, offers_of
from promotions.rows import get_promotion, locked, require_state
from snapshots.contents import snapshot_by_id
from tenants.models import User
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed

from .documents import Release, read_result
from .results import stored


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    kind: str
    title: str
    params: dict[str, Any]
    by: User
    idempotency_key: str | None


def execute(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    idempotency_key: str | None = None,
    typed: str | None = None,
) -> Operation:
    """Start the writing. All gates are met here, and again by the worker just before the first write.

    A draft that needs no approval is submitted on the way; one that failed and left the target as it was may be run
    again, if nothing has changed since. ``typed``: the target's name as a person typed it (None: not asked for). The
    same idempotency key answers the operation that it started. Raises what the gates say, ``WrongState``,
    ``TargetLocked``, ``PromotionNotConfirmed``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    known = _known_operation(promotion, EXECUTE, idempotency_key)
    if known is not None:
        return known
    require_typed([promotion.target_environment], typed, PromotionNotConfirmed)
    _require_ready(_submitted(promotion, by))
    refusal = gates.first_refusal(gates.all_gates(load_gate_facts(tenant_id=tenant_id, promotion_id=promotion_id)))
    if refusal is not None:
        raise refusal
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        _require_ready(row)
        job = _Job(kind=EXECUTE, title=f"Promote {row.name}", params={}, by=by, idempotency_key=idempotency_key)
        operation = _start(row, job)
        row.status, row.operation_id, row.started_at = PromotionStatus.RUNNING, operation.pk, clock.now()
        row.ended_at, row.execution_result = None, None
        row.save()
        publish_state(row)
    return operation


def _submitted(promotion: Promotion, by: User) -> Promotion:
    """The promotion, submitted where it is a draft that nobody needs to approve. Raises ``ApprovalNeeded``."""
    if promotion.status == PromotionStatus.DRAFT and not needs_approval(promotion):
        promotion = submit(tenant_id=promotion.tenant_id, promotion_id=promotion.pk, by=by)
    if promotion.status in (PromotionStatus.DRAFT, PromotionStatus.PENDING_APPROVAL):
        raise ApprovalNeeded
    return promotion


def _require_ready(promotion: Promotion) -> None:
    if not can_try_again(promotion):
        require_state(promotion, (PromotionStatus.APPROVED,), "executed")


def rollback(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    force: bool = False,
    snapshot_id: uuid.UUID | str | None = None,
    reason: str = "",
    idempotency_key: str | None = None,
) -> Operation:
    """Start rolling back: only those workflows that this promotion touched.

    Without ``force`` it is refused by the worker where somebody has changed one of them since. ``snapshot_id`` must be
    a snapshot of the target; the promotion's own is the default. Raises ``NotFound``, ``WrongState``, ``TargetLocked``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    if snapshot_id is not None:
        _require_of_target(promotion, snapshot_id)
    known = _known_operation(promotion, ROLLBACK, idempotency_key)
    if known is not None:
        return known
    require_state(promotion, CAN_ROLL_BACK, "rolled back")
    chosen = str(snapshot_id) if snapshot_id else pre_snapshot_id(promotion)
    if not chosen:
        raise WrongState("This promotion wrote nothing: there is nothing to roll back.")
    params = {"force": force, "snapshot_id": chosen, "reason": reason.strip()[:500]}
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        require_state(row, CAN_ROLL_BACK, "rolled back")
        title = f"Roll back {row.name}"
        return _start(row, _Job(kind=ROLLBACK, title=title, params=params, by=by, idempotency_key=idempotency_key))


def _require_of_target(promotion: Promotion, snapshot_id: uuid.UUID | str) -> None:
    if snapshot_by_id(promotion.tenant_id, snapshot_id).environment_id != promotion.target_environment_id:
        raise NotFound("The target has no such snapshot.", recovery="Choose one from the list of its snapshots.")


def prepare(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    chosen: Sequence[str] | None = None,
    rows: bool = False,
    idempotency_key: str | None = None,
) -> Operation:
    """Create in the target what the plan offers to create: the ``chosen`` offers (``offers.offer_id``), or all.

    ``rows`` copies the rows of data tables that are created. A draft is planned again once it has ended. Raises
    ``NotOffered``, ``WrongState``, ``TargetLocked``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    if not can_try_again(promotion):
        require_state(promotion, PLANNABLE, "prepared")
    known = _known_operation(promotion, PREPARE, idempotency_key)
    if known is not None:
        return known
    params = {"offers": msgspec.to_builtins(_chosen_offers(promotion, chosen)), "rows": rows}
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        title = f"Prepare {row.target_environment.name} for {row.name}"
        if rows:
            title += f", with rows out of {row.source_environment.name}"
        return _start(row, _Job(kind=PREPARE, title=title, params=params, by=by, idempotency_key=idempotency_key))


def _chosen_offers(promotion: Promotion, chosen: Sequence[str] | None) -> list[ChosenOffer]:
    offered = offers_of(read_plan(promotion.plan))
    wanted = list(offered) if chosen is None else list(dict.fromkeys(chosen))
    if not wanted or not offered.keys() >= set(wanted):
        raise NotOffered(details={"offered": sorted(offered)})
    return [offered[offer_id] for offer_id in wanted]


def start_credential_tests(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, idempotency_key: str | None = None
) -> Operation:
    """Let n8n of the target test every credential that the plan needs; the gate shows the results.

    Raises ``NotOffered`` where it needs none.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    used = credentials_in_use(read_plan(promotion.plan))
    if not used:
        raise NotOffered("The plan needs no credential.")
    with tenant_scope(tenant_id):
        return operations.start(
            tenant_id=tenant_id,
            kind=TEST_CREDENTIALS,
            title=f"Test {len(used)} credential{'s' if len(used) != 1 else ''} of {promotion.target_environment.name}",
            params={"promotion_id": str(promotion_id), "credentials": msgspec.to_builtins(used)},
            requested_by=by,
            idempotency_key=idempotency_key,
            environment_id=promotion.target_environment_id,
            subject_type="promotion",
            subject_id=promotion.pk,
        )


def cancel(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Withdraw a promotion; one that runs is stopped at its next boundary and rolled back."""
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        if row.status == PromotionStatus.RUNNING and row.operation_id:
            operations.cancel(tenant_id=tenant_id, operation_id=row.operation_id, by=by)
        else:
            require_state(row, PLANNABLE, "cancelled")
            row.status, row.ended_at = PromotionStatus.CANCELLED, clock.now()
            row.save()
            publish_state(row)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def release(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, reason: str, typed: str | None = None
) -> Promotion:
    """Release a target that this promotion left half-way: a person has looked, and settled it by hand.

    Raises ``WrongState`` where it holds nothing, ``TargetLocked`` while something writes there,
    ``PromotionNotConfirmed``.
    """
    if not reason.strip():
        raise Invalid("Say what was looked at.", recovery="Write a sentence for those who promote there next.")
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    target = promotion.target_environment
    require_typed([target], typed, PromotionNotConfirmed)
    with tenant_scope(tenant_id):
        busy = gates.lock_gate(target.name, lock_holder(target.write_lock)).error
        if busy is not None:
            raise busy
        row = locked(promotion_id)
        if row.attention_since is None:
            raise WrongState("This promotion does not hold its target.")
        _release(row, Release(by=str(real_person(by)), at=clock.now().isoformat(), reason=reason.strip()[:500]))
        record_event(
            action="promotion.release",
            resource_type="promotions",
            resource_id=row.pk,
            tenant_id=tenant_id,
            details={"reason": reason.strip()[:500], "target": target.slug},
        )
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def _release(row: Promotion, released: Release) -> None:
    result = msgspec.structs.replace(read_result(row.execution_result), needs_attention=False, released=released)
    row.execution_result, row.attention_since = stored(result, row.execution_result), None
    row.save()


def _start(row: Promotion, job: _Job) -> Operation:
    """Start a job that writes into the target. Raises ``TargetHeld``, ``TargetLocked``."""
    target = row.target_environment
    holder = holding_promotion(target.pk, own=row.pk)
    if holder is not None:
        raise gates.held_error(target.name, holder)
    try:
        return operations.start(
            tenant_id=row.tenant_id,
            kind=job.kind,
            title=job.title,
            params={"promotion_id": str(row.pk), **job.params},
            requested_by=job.by,
            idempotency_key=job.idempotency_key,
            exclusive_key=target.write_lock,
            environment_id=target.pk,
            subject_type="promotion",
            subject_id=row.pk,
        )
    except Busy as error:
        raise TargetLocked(error.message, details=error.details) from error


def _known_operation(promotion: Promotion, kind: str, key: str | None) -> Operation | None:
    """The promotion's operation that was started with this idempotency key, however long ago."""
    with tenant_scope(promotion.tenant_id):
        known = started_before(kind=kind, key=key)
    return known if known is not None and known.subject_id == promotion.pk else None
