"""Writes about promotions: plan, submit, decide, execute, roll back. Long work is in ``handlers``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import orjson

from audit.services import record_event
from core import clock, context
from core.errors import Conflict, Forbidden, Invalid, NotFound
from operations import services as operations
from operations.errors import Busy
from operations.models import Operation
from tenants.models import Grants, User
from tenants.permissions import grants_on_tenant
from tenants.scope import assert_no_scope, tenant_scope
from workflows.models import Environment
from workflows.permissions import APPROVE_ENVIRONMENT, grants_on_environment

from . import attention, gates, snapshot_contents
from .comparison import Comparison, compare
from .domain_events import publish_state
from .errors import (
    ApprovalNeeded,
    NotConfirmed,
    NothingToPromote,
    NotOffered,
    PlanStale,
    SelfApproval,
    TargetHeld,
    TargetLocked,
    WrongState,
)
from .models import Promotion, PromotionStatus
from .options import Options
from .plan_inputs import load_facts, look_around, types_seen
from .planning import build_plan, essence, plan_hash
from .preparing import offers_of, used_credentials
from .status_sync import settle_promotion

__all__ = [
    "Comparison",
    "approve",
    "cancel",
    "compare",
    "create",
    "execute",
    "get_promotion",
    "prepare",
    "preview_plan",
    "reject",
    "release",
    "repair",
    "replan",
    "replan_draft",
    "rollback",
    "start_credential_tests",
    "submit",
]

EXECUTE = "promotions.execute"
ROLLBACK = "promotions.rollback"
PREPARE = "promotions.prepare"
TEST_CREDENTIALS = "promotions.test_credentials"
KEYS_AT_ONCE = 5000
PLANNABLE = (PromotionStatus.DRAFT, PromotionStatus.PENDING_APPROVAL, PromotionStatus.APPROVED)
STOPPED = (PromotionStatus.FAILED, PromotionStatus.CANCELLED)
CAN_ROLL_BACK = (PromotionStatus.COMPLETED, PromotionStatus.FAILED)


def can_try_again(promotion: Promotion) -> bool:
    """Whether it was stopped and left the target as it was: then the frozen plan, or a new one, may be tried again."""
    result = promotion.execution_result or {}
    put_back = (result.get("rollback_result") or {}).get("status") == "success"
    return promotion.status in STOPPED and bool(put_back or result.get("target_untouched"))


def is_plannable(promotion: Promotion) -> bool:
    """Whether it may be planned again."""
    return promotion.status in PLANNABLE or can_try_again(promotion)


def get_promotion(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID | str) -> Promotion:
    """One promotion of the tenant with its environments and people, or ``NotFound``."""
    try:
        wanted = promotion_id if isinstance(promotion_id, uuid.UUID) else uuid.UUID(str(promotion_id))
    except ValueError as error:
        raise NotFound from error
    with tenant_scope(tenant_id):
        found = (
            Promotion.objects.select_related("source_environment", "target_environment", "created_by", "decided_by")
            .filter(pk=wanted)
            .first()
        )
    if found is None:
        raise NotFound
    return found


def preview_plan(
    *,
    tenant_id: uuid.UUID,
    source_id: uuid.UUID,
    target_id: uuid.UUID,
    keys: Sequence[str],
    options: Options | None = None,
) -> dict[str, Any]:
    """The plan for a choice, not stored. Reads Git: outside any scope. See ``planning.build_plan`` for its shape."""
    assert_no_scope("Planning a promotion")
    if len(keys) > KEYS_AT_ONCE:
        raise Invalid(f"At most {KEYS_AT_ONCE} workflows can be promoted at once.", details={"given": len(keys)})
    sides = {"tenant_id": tenant_id, "source_id": source_id, "target_id": target_id}
    reached = look_around(**sides)
    facts = load_facts(**sides)
    if facts.around_target.packages is None:
        seen = types_seen(tenant_id=tenant_id, environment_id=target_id)
        facts = replace(facts, target_types=seen)
    source, target = facts.source.captured(), facts.target.captured()
    chosen = options or Options()
    plan = build_plan(
        facts,
        keys=keys,
        options=chosen,
        load_source=snapshot_contents.loader(source, chosen.version),
        listening=lambda: snapshot_contents.listening(target),
        callers=lambda: snapshot_contents.callers(target, set(keys)),
        now=clock.now(),
        reached=reached,
    )
    # What is hashed is what the database gives back: JSON, not Python's tuples.
    return orjson.loads(orjson.dumps(plan, default=str))  # type: ignore[no-any-return]


def create(
    *,
    tenant_id: uuid.UUID,
    source_id: uuid.UUID,
    target_id: uuid.UUID,
    keys: Sequence[str],
    by: User,
    name: str = "",
    description: str = "",
    options: Mapping[str, Any] | None = None,
) -> Promotion:
    """Make a draft with its plan. A plan with dangling references is kept, and refused at ``submit``.

    Raises ``NothingToPromote``, ``NotFound``, ``Invalid``, ``NeverCaptured``.
    """
    if not keys:
        raise NothingToPromote("No workflows were chosen.")
    chosen = Options.read(options)
    plan = preview_plan(tenant_id=tenant_id, source_id=source_id, target_id=target_id, keys=keys, options=chosen)
    if plan["unknown_keys"]:
        lost = plan["unknown_keys"]
        raise NotFound(f"The source has no workflow “{lost[0]}”.", details={"keys": lost[:50]})
    count = plan["counts"]["create"] + plan["counts"]["update"]
    title = name.strip() or f"{count} workflow{'s' if count != 1 else ''} to {plan['target']['name']}"
    with tenant_scope(tenant_id):
        row = Promotion.objects.create(
            tenant_id=tenant_id,
            name=title[:200],
            description=description.strip(),
            source_environment_id=source_id,
            target_environment_id=target_id,
            workflow_keys=list(dict.fromkeys(keys)),
            plan=plan,
            options=chosen.to_dict() | {"requesters": [str(_real_person(by))]},
            created_by_id=_real_person(by),
        )
        publish_state(row)
        return row


def replan(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Compute the plan anew. It is a draft again: what was approved was the other plan."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    _require_plannable(promotion)
    plan = _plan_now(promotion)
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        _require_plannable(row)
        _put_plan(row, plan, by)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def replan_draft(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    scope: Callable[[], AbstractContextManager[Any]],
) -> bool:
    """Compute the plan anew where nobody has frozen it, and say whether that was so. For a job, in its ``scope``.

    What was asked for or approved is bound to its plan's hash: only a person gives that up.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    if promotion.status != PromotionStatus.DRAFT:
        return False
    plan = _plan_now(promotion)
    with scope():
        row = _locked(promotion_id)
        if row.status != PromotionStatus.DRAFT:
            return False
        _put_plan(row, plan, by)
    return True


def _plan_now(promotion: Promotion) -> dict[str, Any]:
    return preview_plan(
        tenant_id=promotion.tenant_id,
        source_id=promotion.source_environment_id,
        target_id=promotion.target_environment_id,
        keys=promotion.workflow_keys,
        options=gates.options_of(promotion),
    )


def _put_plan(row: Promotion, plan: dict[str, Any], by: User) -> None:
    _add_requester(row, by)
    row.plan, row.plan_hash, row.status = plan, "", PromotionStatus.DRAFT
    row.decided_by, row.decided_at, row.decision_comment = None, None, ""
    # The try before has its job as its record; what it proved must not let this plan be run once it is withdrawn.
    row.started_at, row.ended_at, row.execution_result = None, None, None
    row.save()
    publish_state(row)


def repair(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Plan again without what n8n refuses and nothing needs (see ``workflows.structure``)."""
    _require_plannable(get_promotion(tenant_id=tenant_id, promotion_id=promotion_id))
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        row.options = {**row.options, "repair": True}
        row.save(update_fields=["options"])
    return replan(tenant_id=tenant_id, promotion_id=promotion_id, by=by)


def prepare(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    chosen: Sequence[str] | None = None,
    rows: bool = False,
    idempotency_key: str | None = None,
) -> Operation:
    """Make in the target what the plan offers to make: the ``chosen`` offers (``needs.offer_id``), or all.

    ``rows`` copies the rows of data tables that are created. A draft is planned again once it has ended. Raises
    ``NotOffered``, ``WrongState``, ``TargetLocked``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    if not can_try_again(promotion):
        _require_state(promotion, PLANNABLE, "prepared")
    known = _known_operation(promotion, PREPARE, idempotency_key)
    if known is not None:
        return known
    offered = offers_of(promotion.plan or gates.EMPTY_PLAN)
    wanted = list(offered) if chosen is None else [ident for ident in chosen if ident in offered]
    if not wanted or (chosen is not None and len(wanted) < len(set(chosen))):
        raise NotOffered(details={"offered": sorted(offered)})
    params = {"offers": [offered[ident] for ident in wanted], "rows": rows}
    target = promotion.target_environment
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        title = f"Prepare {target.name} for {row.name}"
        if rows:
            title += f", with rows out of {promotion.source_environment.name}"
        return _start(row, target, PREPARE, title, params, by, idempotency_key)


def start_credential_tests(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, idempotency_key: str | None = None
) -> Operation:
    """Let n8n of the target test every credential that the plan needs; the gate shows the results."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    used = used_credentials(promotion.plan or gates.EMPTY_PLAN)
    if not used:
        raise NotOffered("The plan needs no credential.")
    with tenant_scope(tenant_id):
        return operations.start(
            tenant_id=tenant_id,
            kind=TEST_CREDENTIALS,
            title=f"Test {len(used)} credential{'s' if len(used) != 1 else ''} of {promotion.target_environment.name}",
            params={"promotion_id": str(promotion_id), "credentials": used},
            requested_by=by,
            idempotency_key=idempotency_key,
            environment_id=promotion.target_environment_id,
            subject_type="promotion",
            subject_id=promotion.pk,
        )


def submit(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Freeze the plan. It then waits for approval, or is ready where none is needed.

    Refused over each gate that only a person can open: nobody is asked to approve what cannot run. Raises what the
    gates say (``Dangling``, ``NothingToPromote``, ``SecretsLacking``, ``DriftBlocks``…), ``PlanStale``, ``WrongState``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    _require_state(promotion, (PromotionStatus.DRAFT,), "submitted")
    # References are judged on what is known now: a mapping entered a moment ago counts, one taken away too.
    fresh = _plan_now(promotion)
    if promotion.plan and essence(fresh) != essence(promotion.plan) and not promotion.plan["dangling"]:
        _store_plan(tenant_id, promotion_id, fresh)
        raise PlanStale("The plan changed since you looked at it; the new one is shown.")
    promotion.plan = fresh
    refusal = gates.first_refusal(
        gates.red(gates.all_gates(promotion, promotion.source_environment, promotion.target_environment))
    )
    if refusal is not None:
        raise refusal
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        _require_state(row, (PromotionStatus.DRAFT,), "submitted")
        _add_requester(row, by)
        row.plan, row.plan_hash = fresh, plan_hash(fresh)
        waits = gates.needs_approval(row, promotion.target_environment)
        row.status = PromotionStatus.PENDING_APPROVAL if waits else PromotionStatus.APPROVED
        row.save()
        publish_state(row)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def approve(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, comment: str = "", seen_plan_hash: str = ""
) -> Promotion:
    """Approve the frozen plan. Decided on the real person: never one of those who asked for it.

    ``seen_plan_hash``: the plan that was looked at, if the caller knows. Raises ``SelfApproval``, ``Forbidden``,
    ``WrongState``, ``Conflict``.
    """
    return _decide(tenant_id, promotion_id, by, PromotionStatus.APPROVED, comment, seen_plan_hash)


def reject(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, comment: str) -> Promotion:
    """Turn a promotion down; the comment says why."""
    if not comment.strip():
        raise Invalid("Say why it is rejected.", recovery="Write a sentence for the person who asked for it.")
    return _decide(tenant_id, promotion_id, by, PromotionStatus.REJECTED, comment, "")


def _decide(
    tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, status: PromotionStatus, comment: str, seen: str
) -> Promotion:
    person = _real_person(by)
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    target = promotion.target_environment
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        _require_state(row, (PromotionStatus.PENDING_APPROVAL,), "decided on")
        held = grants_on_tenant(user_id=person, tenant_id=tenant_id)
        if Grants.APPROVE not in held and APPROVE_ENVIRONMENT not in grants_on_environment(
            user_id=person, environment=target
        ):
            raise Forbidden(details={"needed": Grants.APPROVE})
        # Turning down one's own request harms nobody.
        if status == PromotionStatus.APPROVED and str(person) in _requesters(row):
            raise SelfApproval
        if seen and seen != row.plan_hash:
            raise Conflict("The plan is another one than you looked at.")
        row.status, row.decided_by_id, row.decided_at = status, person, clock.now()
        row.decision_comment = comment.strip()
        row.save()
        publish_state(row)
        record_event(
            action="promotion.approve" if status == PromotionStatus.APPROVED else "promotion.reject",
            resource_type="promotions",
            resource_id=row.pk,
            tenant_id=tenant_id,
            details={"plan_hash": row.plan_hash, "comment": row.decision_comment, "target": target.slug},
        )
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def cancel(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Withdraw a promotion; one that runs is stopped at its next boundary and the target put back."""
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        if row.status == PromotionStatus.RUNNING and row.operation_id:
            operation = operations.cancel(tenant_id=tenant_id, operation_id=row.operation_id, by=by)
            if not operation.is_open:
                settle_promotion(row, operation)
        else:
            _require_state(row, PLANNABLE, "cancelled")
            row.status, row.ended_at = PromotionStatus.CANCELLED, clock.now()
            row.save()
            publish_state(row)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


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
    ``TargetLocked``, ``NotConfirmed``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    source, target = promotion.source_environment, promotion.target_environment
    known = _known_operation(promotion, EXECUTE, idempotency_key)
    if known is not None:
        return known
    require_typed(target, typed)
    if promotion.status == PromotionStatus.DRAFT:
        if gates.needs_approval(promotion, target):
            raise ApprovalNeeded
        promotion = submit(tenant_id=tenant_id, promotion_id=promotion_id, by=by)
    if promotion.status == PromotionStatus.PENDING_APPROVAL:
        raise ApprovalNeeded
    if not can_try_again(promotion):
        _require_state(promotion, (PromotionStatus.APPROVED,), "executed")
    refusal = gates.first_refusal(gates.all_gates(promotion, source, target))
    if refusal is not None:
        raise refusal
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        if not can_try_again(row):
            _require_state(row, (PromotionStatus.APPROVED,), "executed")
        operation = _start(row, target, EXECUTE, f"Promote {row.name}", {}, by, idempotency_key)
        row.status, row.operation_id, row.started_at = PromotionStatus.RUNNING, operation.pk, clock.now()
        row.ended_at, row.execution_result = None, None
        row.save()
        publish_state(row)
    return operation


def rollback(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    force: bool = False,
    snapshot_id: uuid.UUID | str | None = None,
    reason: str = "",
    idempotency_key: str | None = None,
    typed: str | None = None,
) -> Operation:
    """Start putting the promoted workflows back as they were before; only those that this promotion touched.

    Without ``force`` it is refused by the worker where somebody has changed one of them since. ``snapshot_id``
    must be a snapshot of the target; the promotion's own is the default. Raises ``WrongState``, ``TargetLocked``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    target = promotion.target_environment
    require_typed(target, typed)
    known = _known_operation(promotion, ROLLBACK, idempotency_key)
    if known is not None:
        return known
    _require_state(promotion, CAN_ROLL_BACK, "rolled back")
    chosen = str(snapshot_id) if snapshot_id else pre_snapshot_id(promotion)
    if not chosen:
        raise WrongState("This promotion wrote nothing: there is nothing to roll back.")
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        _require_state(row, CAN_ROLL_BACK, "rolled back")
        params = {"force": force, "snapshot_id": chosen, "reason": reason.strip()[:500]}
        return _start(row, target, ROLLBACK, f"Roll back {row.name}", params, by, idempotency_key)


def release(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, reason: str, typed: str | None = None
) -> Promotion:
    """Let go of a target that this promotion left half-way: a person has looked, and settled it by hand.

    Raises ``WrongState`` where it holds nothing, ``TargetLocked`` while something writes there.
    """
    if not reason.strip():
        raise Invalid("Say what was looked at.", recovery="Write a sentence for those who promote there next.")
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    target = promotion.target_environment
    require_typed(target, typed)
    busy = gates.lock_gate(tenant_id, target).error
    if busy is not None:
        raise busy
    with tenant_scope(tenant_id):
        row = _locked(promotion_id)
        if row.attention_since is None:
            raise WrongState("This promotion does not hold its target.")
        person = _real_person(by)
        released = {"by": str(person), "at": clock.now().isoformat(), "reason": reason.strip()[:500]}
        row.execution_result = {**(row.execution_result or {}), "needs_attention": False, "released": released}
        row.attention_since = None
        row.save()
        record_event(
            action="promotion.release",
            resource_type="promotions",
            resource_id=row.pk,
            tenant_id=tenant_id,
            details={"reason": released["reason"], "target": target.slug},
        )
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def pre_snapshot_id(promotion: Promotion) -> str:
    """The id of the snapshot taken before the writes, or an empty text."""
    return str(((promotion.execution_result or {}).get("snapshot_ids") or {}).get("pre_promotion") or "")


def require_typed(target: Environment, typed: str | None) -> None:
    """Raise ``NotConfirmed`` where a person typed something else than a production environment's name."""
    if typed is not None and target.is_production and typed.strip() != target.name:
        raise NotConfirmed(details={"environment": target.name})


def _start(
    row: Promotion,
    target: Environment,
    kind: str,
    title: str,
    params: dict[str, Any],
    by: User,
    idempotency_key: str | None,
) -> Operation:
    holder = attention.holder_of(target.pk, own=row.pk)
    if holder is not None:
        raise TargetHeld(
            f"“{holder.name}” left {target.name} neither wholly new nor proven to be as before.",
            details={"promotion_id": str(holder.pk)},
        )
    try:
        return operations.start(
            tenant_id=row.tenant_id,
            kind=kind,
            title=title,
            params={"promotion_id": str(row.pk), **params},
            requested_by=by,
            idempotency_key=idempotency_key,
            exclusive_key=target.write_lock,
            environment_id=target.pk,
            subject_type="promotion",
            subject_id=row.pk,
        )
    except Busy as error:
        raise TargetLocked(error.message, details=error.details) from error


def _known_operation(promotion: Promotion, kind: str, key: str | None) -> Operation | None:
    """The promotion's operation that was started with this idempotency key, however long ago."""
    if not key:
        return None
    with tenant_scope(promotion.tenant_id):
        return Operation.objects.filter(kind=kind, idempotency_key=key, subject_id=promotion.pk).first()


def _store_plan(tenant_id: uuid.UUID, promotion_id: uuid.UUID, plan: dict[str, Any]) -> None:
    with tenant_scope(tenant_id):
        Promotion.objects.filter(pk=promotion_id, status=PromotionStatus.DRAFT).update(
            plan=plan, updated_at=clock.now()
        )


def _locked(promotion_id: uuid.UUID) -> Promotion:
    row = Promotion.objects.select_for_update().filter(pk=promotion_id).first()
    if row is None:
        raise NotFound
    return row


def _require_state(promotion: Promotion, states: Sequence[str], verb: str) -> None:
    if promotion.status not in states:
        word = promotion.get_status_display().lower()
        raise WrongState(f"A promotion that is “{word}” cannot be {verb}.", details={"status": promotion.status})


def _require_plannable(promotion: Promotion) -> None:
    if not can_try_again(promotion):
        _require_state(promotion, PLANNABLE, "planned again")


def _real_person(by: User) -> uuid.UUID:
    """The person at the keyboard, also while they take somebody's place."""
    return context.current().actor_id or by.pk


def _requesters(row: Promotion) -> set[str]:
    named = {str(found) for found in row.options.get("requesters") or ()}
    return named | ({str(row.created_by_id)} if row.created_by_id else set())


def _add_requester(row: Promotion, by: User) -> None:
    row.options = row.options | {"requesters": sorted(_requesters(row) | {str(_real_person(by))})}
