"""The page of one promotion: its plan and gates, its progress, how it ended, and the way back."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from operations.models import Operation, OperationStatus
from operations.pace import pace
from promotions import selectors
from promotions.lifecycle import EXECUTE, PLANNABLE, PREPARE, is_plannable
from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import Plan, read_plan
from promotions.planning.gate_facts import load_gate_facts
from promotions.planning.gates import Gate, all_gates
from promotions.planning.options import ActivePolicy
from promotions.reviewing.page import dropped
from promotions.reviewing.reading import review_of
from promotions.rows import get_promotion
from promotions.running.documents import ExecutionResult, ManualRollbackRecord, read_result
from tenants.pages import Visit, may_open
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows import surroundings
from workflows.models import KnownCredential
from workflows.normalization import DATA_TABLE
from workflows.watching.selectors import of_operations

from . import presenters, rollbacks, sentences, stages
from .executions import runs_since
from .page_version import version_of
from .presenters import Choice

STEPS_SHOWN = 12
CHOICES_AT_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jobs:
    """``open`` ones, the one that carried the promotion out, and the latest rollback."""

    open: list[Operation]
    execution: Operation | None
    rollback: Operation | None

    @property
    def shown(self) -> Operation | None:
        return self.open[0] if self.open else self.execution

    @property
    def is_preparing(self) -> bool:
        return any(job.kind == PREPARE for job in self.open)


def context(visit: Visit, pk: uuid.UUID, *, whole: bool = False) -> dict[str, Any]:
    """Everything that ``promotions/promotion.html`` draws, with all workflows of a large plan where ``whole``.

    Outside any scope. Raises ``NotFound``.
    """
    tenant_id = visit.tenant.pk
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=pk)
    with tenant_scope(tenant_id):
        jobs = _jobs(promotion)
        version = version_of(promotion, jobs.open)
        selectors.settled_view(promotion, jobs.execution)
    gates = _gates(promotion)
    plan, result = read_plan(promotion.plan), read_result(promotion.execution_result)
    with tenant_scope(tenant_id):
        return {
            "promotion": promotion,
            "whole": whole,
            "sentence": sentences.of_promotion(promotion, plan, result),
            "version": version,
            "trail_url": _trail_url(visit, pk),
            "nav_section": "promotions",
            "result": result,
            **_powers(visit, promotion, gates, jobs),
            **_plan(visit, promotion, plan, result, whole=whole),
            **_missing(promotion, plan, jobs),
            **_progress(jobs, plan),
            **_rollback(promotion, result, jobs),
        }


def _trail_url(visit: Visit, pk: uuid.UUID) -> str:
    """Where its history is; '' for who may not read it."""
    trail = reverse("trail", kwargs={"tenant_slug": visit.tenant.slug})
    return f"{trail}?resource_id={pk}" if may_open(visit, trail) else ""


def _jobs(promotion: Promotion) -> _Jobs:
    return _Jobs(
        open=selectors.jobs_on(promotion),
        execution=selectors.operation_of(promotion),
        rollback=selectors.latest_rollback(promotion),
    )


def _gates(promotion: Promotion) -> list[Gate]:
    if not is_plannable(promotion):
        return []
    return all_gates(load_gate_facts(tenant_id=promotion.tenant_id, promotion_id=promotion.pk))


def _powers(visit: Visit, promotion: Promotion, gates: list[Gate], jobs: _Jobs) -> dict[str, Any]:
    powers = presenters.powers(visit, promotion, gates, jobs.rollback)
    return {
        "powers": powers,
        "gates": presenters.gate_rows(gates),
        "can_change": is_plannable(promotion) or promotion.status == PromotionStatus.RUNNING,
        "is_over": promotion.status not in (*PLANNABLE, PromotionStatus.RUNNING),
        "kept_published": selectors.kept_published(promotion) if powers.rollback else [],
    }


def _plan(visit: Visit, promotion: Promotion, plan: Plan, result: ExecutionResult, *, whole: bool) -> dict[str, Any]:
    review = review_of(promotion, plan.items, reader=real_person(visit.user))
    return {
        "plan": plan,
        "review": review,
        "dropped": dropped(visit, promotion, review),
        "items": presenters.item_rows(visit, promotion, plan, result, review, whole=whole),
        "items_total": len(plan.items),
        "warnings": sum(len(item.warnings) for item in plan.items),
        "active_word": dict(ActivePolicy.choices).get(promotion.options.get("active", ""), ""),
    }


def _missing(promotion: Promotion, plan: Plan, jobs: _Jobs) -> dict[str, Any]:
    """What the target lacks, as long as that can be mended."""
    if not is_plannable(promotion):
        return {"dangling": [], "offered": None, "preparing": jobs.is_preparing}
    groups = presenters.missing_groups(plan)
    known = choices(promotion, {group.missing.credential_type for group in groups} - {""})
    for group in groups:
        group.choices = known.get(group.missing.credential_type, ())
    return {
        "dangling": groups,
        "offered": None if jobs.is_preparing else presenters.offered(plan),
        "preparing": jobs.is_preparing,
    }


def choices(promotion: Promotion, types: Collection[str]) -> dict[str, list[Choice]]:
    """Credentials and data tables of the target that may be chosen, by type. Needs the tenant's scope."""
    if not types:
        return {}
    rows = KnownCredential.objects.filter(
        environment_id=promotion.target_environment_id, credential_type__in=types, is_gone=False
    ).order_by("name")[:CHOICES_AT_MOST]
    found: dict[str, list[Choice]] = {}
    for row in rows:
        found.setdefault(row.credential_type, []).append(Choice(row.credential_id, row.name))
    if DATA_TABLE in types:
        around = surroundings.stored(promotion.tenant_id, promotion.target_environment_id)
        found[DATA_TABLE] = [Choice(table.id, table.name) for table in around.data_tables or ()]
    return found


def _progress(jobs: _Jobs, plan: Plan) -> dict[str, Any]:
    shown = jobs.shown
    if shown is None or not shown.is_open:
        return {"operation": shown, "watching": False, "stopping": False, "goes_back": False}
    back = stages.goes_back(shown)
    found = stages.stages_of(shown, plan, back=back)
    told = shown.steps.exclude(intent__has_key="key")  # what is done with a workflow is said beside its name
    return {
        "operation": shown,
        "watching": True,
        "goes_back": back,
        "rolls_back_when_stopped": shown.kind == EXECUTE,
        "stopping": shown.cancel_requested_at is not None,
        "stages": found,
        "steps": list((told if found.rows else shown.steps).order_by("-position")[:STEPS_SHOWN]),
        "pace": pace(shown),
    }


def _without_a_record(rollback: Operation | None, manual: ManualRollbackRecord | None) -> Operation | None:
    """The last rollback where it failed before it wrote anything, so that the promotion's result does not tell."""
    if rollback is None or rollback.status != OperationStatus.FAILED:
        return None
    return None if manual and manual.operation_id == str(rollback.pk) else rollback


def _rollback(promotion: Promotion, result: ExecutionResult, jobs: _Jobs) -> dict[str, Any]:
    manual = result.manual_rollback or None
    rolled_back, automatic = rollbacks.rolled_back_names(promotion, manual), rollbacks.automatic_rollback(result)
    # What ran until the rollback is nobody's to watch: only what runs again is.
    published = [job.pk for job in (jobs.rollback, None if rolled_back else jobs.execution) if job is not None]
    return {
        "rolled_back_by": rollbacks.rolled_back_by(promotion, manual),
        "rollback_failed": _without_a_record(jobs.rollback, manual),
        "returned": rolled_back,
        "rolled": bool(manual and manual.status),
        "released": rollbacks.released_by(result),
        "went_back": bool(automatic or (manual and manual.status)),
        "automatic": automatic,
        "attempts": selectors.attempts_of(promotion),
        "runs": runs_since(promotion),
        "watched": of_operations(published),
        "watched_url": "?part=watched",
        "watched_title": "Runs again since the rollback" if rolled_back else "",
    }
