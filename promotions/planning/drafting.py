"""Services that plan a promotion, again if need be."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from core import clock
from core.errors import Invalid, NotFound
from promotions.domain_events import publish_state
from promotions.errors import NothingToPromote
from promotions.models import Promotion, PromotionStatus
from promotions.rows import add_requester, behind, get_promotion, guard_of, locked, require_plannable
from tenants.models import User
from tenants.persons import real_person
from tenants.scope import assert_no_scope, tenant_scope

from . import options as plan_options
from . import snapshot_contents
from .building import Readers, build_plan
from .documents import Plan
from .inputs import load_inputs, node_types_in_use, refresh_surroundings
from .options import Options
from .paths import require_path

KEYS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """What a person asks for. ``options`` as ``Options.read`` takes them."""

    source_id: uuid.UUID
    target_id: uuid.UUID
    keys: Sequence[str]
    name: str = ""
    description: str = ""
    options: Mapping[str, Any] | None = None


def preview_plan(
    *,
    tenant_id: uuid.UUID,
    source_id: uuid.UUID,
    target_id: uuid.UUID,
    keys: Sequence[str],
    options: Options | None = None,
) -> Plan:
    """The plan for a choice, not stored. Reads Git: outside any scope.

    Raises ``Invalid`` (too many keys, one environment twice), ``NotFound``, ``PathRefused``, ``NeverCaptured``.
    """
    assert_no_scope("Planning a promotion")
    require_path(tenant_id=tenant_id, source_id=source_id, target_id=target_id)
    if len(keys) > KEYS_AT_ONCE:
        raise Invalid(f"At most {KEYS_AT_ONCE} workflows can be promoted at once.", details={"given": len(keys)})
    sides = {"tenant_id": tenant_id, "source_id": source_id, "target_id": target_id}
    reached = refresh_surroundings(**sides)
    inputs = load_inputs(**sides)
    if inputs.target_surroundings.packages is None:
        seen = node_types_in_use(tenant_id=tenant_id, environment_id=target_id)
        inputs = replace(inputs, target_node_types=seen)
    source, target = inputs.source.captured(), inputs.target.captured()
    chosen = options or Options()
    readers = Readers(
        source=snapshot_contents.loader(source, chosen.version),
        listening=lambda: snapshot_contents.listening(target),
        callers=lambda: snapshot_contents.callers(target, set(keys)),
    )
    return build_plan(inputs, keys=keys, options=chosen, readers=readers, now=clock.now(), reached=reached)


def create(*, tenant_id: uuid.UUID, request: PromotionRequest, by: User) -> Promotion:
    """Make a draft with its plan. A plan with missing references is kept, and refused at ``submit``.

    Raises ``NothingToPromote``, ``NotFound``, ``Invalid``, ``NeverCaptured``.
    """
    if not request.keys:
        raise NothingToPromote("No workflows were chosen.")
    chosen = Options.read(request.options)
    plan = preview_plan(
        tenant_id=tenant_id,
        source_id=request.source_id,
        target_id=request.target_id,
        keys=request.keys,
        options=chosen,
    )
    if plan.unknown_keys:
        lost = plan.unknown_keys
        raise NotFound(f"The source has no workflow “{lost[0]}”.", details={"keys": list(lost[:50])})
    with tenant_scope(tenant_id):
        row = Promotion.objects.create(
            tenant_id=tenant_id,
            name=_name(request, plan)[:200],
            description=request.description.strip(),
            source_environment_id=request.source_id,
            target_environment_id=request.target_id,
            workflow_keys=list(dict.fromkeys(request.keys)),
            plan=plan.to_json(),
            options=chosen.to_json() | {"requesters": sorted(behind(by)), **guard_of(request.target_id)},
            created_by_id=real_person(by),
        )
        publish_state(row)
        return row


def _name(request: PromotionRequest, plan: Plan) -> str:
    count = plan.counts.written
    return request.name.strip() or f"{count} workflow{'s' if count != 1 else ''} to {plan.target.name}"


def replan(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Compute the plan anew. It is a draft again: what was approved was the other plan."""
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    require_plannable(promotion)
    plan = plan_now(promotion)
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        require_plannable(row)
        _put_plan(row, plan, by)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def replan_draft(
    *,
    tenant_id: uuid.UUID,
    promotion_id: uuid.UUID,
    by: User,
    scope: Callable[[], AbstractContextManager[Any]],
) -> bool:
    """Compute the plan anew where nobody has locked it, and say whether that was so. For a job, in its ``scope``.

    What was asked for or approved is bound to its plan's hash: only a person gives that up.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    if promotion.status != PromotionStatus.DRAFT:
        return False
    plan = plan_now(promotion)
    with scope():
        row = locked(promotion_id)
        if row.status != PromotionStatus.DRAFT:
            return False
        _put_plan(row, plan, by)
    return True


def repair(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Plan again without what n8n refuses and nothing needs (see ``workflows.structure``)."""
    require_plannable(get_promotion(tenant_id=tenant_id, promotion_id=promotion_id))
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        row.options = {**row.options, "repair": True}
        row.save(update_fields=["options"])
    return replan(tenant_id=tenant_id, promotion_id=promotion_id, by=by)


def plan_now(promotion: Promotion) -> Plan:
    """The plan for what is stored on the row, as of now. Reads Git: outside any scope."""
    return preview_plan(
        tenant_id=promotion.tenant_id,
        source_id=promotion.source_environment_id,
        target_id=promotion.target_environment_id,
        keys=promotion.workflow_keys,
        options=options_of(promotion),
    )


def options_of(promotion: Promotion) -> Options:
    """The choices stored on the row."""
    return Options.read({name: value for name, value in promotion.options.items() if name in plan_options.NAMES})


def _put_plan(row: Promotion, plan: Plan, by: User) -> None:
    add_requester(row, by)
    row.plan, row.plan_hash, row.status = plan.to_json(), "", PromotionStatus.DRAFT
    row.decided_by, row.decided_at, row.decision_comment = None, None, ""
    # The try before has its job as its record; what it proved must not let this plan be run once it is withdrawn.
    row.started_at, row.ended_at, row.execution_result = None, None, None
    row.save()
    publish_state(row)
