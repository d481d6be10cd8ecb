"""What the REST API of promotions takes and answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import AliasChoices, Field

from core.asked import Asked
from operations.schemas import OperationOut
from workflows.watching.schemas import WatchedStarter

from .models import Promotion
from .planning.documents import Plan, read_plan
from .running.documents import ExecutionResult, read_result


class PromotionIn(Asked):
    """A promotion to be planned. ``options``: ``active`` (keep, copy, inactive), ``include_required``,
    ``require_approval``. With ``submit`` the plan is locked at once."""

    source_environment_id: uuid.UUID = Field(validation_alias=AliasChoices("source_environment_id", "source_env_id"))
    target_environment_id: uuid.UUID = Field(validation_alias=AliasChoices("target_environment_id", "target_env_id"))
    workflow_keys: list[str] = Field([], validation_alias=AliasChoices("workflow_keys", "workflows"))
    name: str = ""
    description: str = ""
    options: dict[str, Any] | None = None
    submit: bool = False


class DecisionIn(Asked):
    """``plan_hash``: the plan that was looked at, so that no other one is approved by accident."""

    comment: str = ""
    plan_hash: str = ""


class ReleaseIn(Asked):
    """``reason``: what was looked at, and settled by hand."""

    reason: str


class RollbackIn(Asked):
    """``snapshot_id``: instead of the one taken before the promotion. ``force``: also over changes made since."""

    force: bool = False
    snapshot_id: uuid.UUID | None = None
    reason: str = ""


class PrepareIn(Asked):
    """``offers``: ids of what the plan offers (``dangling[].offer.id``); left out, all. ``rows``: copy rows as well."""

    offers: list[str] | None = None
    rows: bool = False


class PromotionSummaryOut(Schema):
    """A promotion as it is in a list."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    name: str
    description: str
    status: str
    source_environment_id: uuid.UUID
    target_environment_id: uuid.UUID
    operation_id: uuid.UUID | None
    plan_hash: str | None
    created_by: uuid.UUID | None
    decided_by: uuid.UUID | None
    decided_at: datetime | None
    decision_comment: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attention_since: datetime | None
    updated_at: datetime


class PromotionOut(PromotionSummaryOut):
    """A promotion with its plan and its result. A record of what was approved otherwise has no plan."""

    workflow_keys: list[str]
    options: dict[str, str | bool]
    plan: Plan | None
    execution_result: ExecutionResult | None


class WatchedPromotionOut(PromotionOut):
    """``watched``: triggers that could not be proven at once."""

    watched: list[WatchedStarter]


class PromotionAnswer(Schema):
    promotion: PromotionOut


class WatchedPromotionAnswer(Schema):
    promotion: WatchedPromotionOut


class PromotionsAnswer(Schema):
    """``next_cursor``: where the next page begins; None on the last."""

    promotions: list[PromotionSummaryOut]
    next_cursor: str | None


class JobAnswer(Schema):
    """The promotion as it is by now, and the job that was asked for."""

    promotion: PromotionOut
    operation: OperationOut


def promotion_summary(promotion: Promotion) -> dict[str, Any]:
    """The facts of ``PromotionSummaryOut``."""
    return {
        "id": str(promotion.pk),
        "tenant_id": str(promotion.tenant_id),
        "name": promotion.name,
        "description": promotion.description,
        "status": promotion.status,
        "source_environment_id": str(promotion.source_environment_id),
        "target_environment_id": str(promotion.target_environment_id),
        "operation_id": _id(promotion.operation_id),
        "plan_hash": promotion.plan_hash or None,
        "created_by": _id(promotion.created_by_id),
        "decided_by": _id(promotion.decided_by_id),
        "decided_at": promotion.decided_at,
        "decision_comment": promotion.decision_comment,
        "created_at": promotion.created_at,
        "started_at": promotion.started_at,
        "ended_at": promotion.ended_at,
        "attention_since": promotion.attention_since,
        "updated_at": promotion.updated_at,
    }


def promotion_row(promotion: Promotion) -> dict[str, Any]:
    """The facts of ``PromotionOut``."""
    result = promotion.execution_result
    return {
        **promotion_summary(promotion),
        "workflow_keys": promotion.workflow_keys,
        "options": {name: value for name, value in promotion.options.items() if name != "requesters"},
        "plan": read_plan(promotion.plan).to_json() if promotion.plan else None,
        "execution_result": read_result(result).to_json() if result is not None else None,
    }


def _id(found: uuid.UUID | None) -> str | None:
    return str(found) if found else None
