"""How what a support session promoted is reverted: drafts are withdrawn, promotions rolled back."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, ClassVar

from impersonation.reverting.changes import Change
from impersonation.reverting.items import Item, Verdict, outcome, person_of
from impersonation.reverting.jobbase import JobReverter, Judged, SessionWrites, WrittenWorkflow, judge_by_hash, key_of
from impersonation.reverting.rowbase import NothingToRevert, Row, RowReverter, tenant_of
from operations.engine import Run
from operations.models import Operation
from tenants.models import User
from workflows.session_revert import seen_now

from . import services as promotions
from .models import Promotion, PromotionStatus

APPROVAL_STANDS = "The content is as before; what is approved is not yet."


class PromotionDrafts(RowReverter):
    """Drafts are withdrawn. One that the session executed is reverted as that job."""

    name = "promotions"
    job_kind = promotions.EXECUTE
    large_columns = ("plan", "execution_result")
    columns: ClassVar = {"status": "State"}

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if not change.created and "status" not in (change.before or {}):
            return Verdict.NOTHING, "Its plan was made anew."
        if not change.created:
            return Verdict.IMPOSSIBLE, "Make it again, or withdraw it on its page."
        return None

    def judge(self, change: Change, now: Row | None) -> Verdict:
        if now is None or now["status"] in (PromotionStatus.CANCELLED, PromotionStatus.REJECTED):
            return Verdict.UNDONE
        return Verdict.READY if now["status"] in promotions.PLANNABLE else Verdict.CONFLICT

    def remove_created(self, change: Change, by: User) -> None:
        tenant_id = tenant_of(change.after)
        promotions.cancel(tenant_id=tenant_id, promotion_id=uuid.UUID(change.pk), by=by)


class Promoted(JobReverter):
    """A promotion goes back by the promotions' own rollback."""

    name, kind = promotions.EXECUTE, "promotion"

    def written_workflows(self, job: Operation) -> list[WrittenWorkflow]:
        promotion = promotion_of(job)
        plan = (promotion.plan if promotion else None) or {}
        items = [i for i in plan.get("items", ()) if i["action"] != "unchanged"]
        seen = seen_now(job.environment_id, [i["key"] for i in items])
        return [
            WrittenWorkflow(
                i["key"], i["name"], i["expected_hash"], i["wanted_hash"], seen.get(i["key"], (None, None))[0]
            )
            for i in items
        ]

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        promotion = promotion_of(job)
        if promotion is None:
            return Judged(Verdict.IMPOSSIBLE, "The promotion is gone; restore the snapshot taken before it.")
        if job.is_open or promotion.status == PromotionStatus.RUNNING:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        if promotion.status == PromotionStatus.ROLLED_BACK:
            return Judged(Verdict.UNDONE, "It was rolled back.")
        if promotion.status not in promotions.CAN_ROLL_BACK or promotions.can_try_again(promotion):
            return Judged(Verdict.NOTHING, "It left the target as it was.")
        found = judge_by_hash(job.environment_id, self.written_workflows(job), writes)
        if found.verdict == Verdict.UNDONE:
            return replace(found, verdict=Verdict.READY, reason=APPROVAL_STANDS)
        return found

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        return promotions.rollback(
            tenant_id=run.tenant_id,
            promotion_id=uuid.UUID(item.target["subject"]),
            by=person_of(run),
            force=force,
            reason=f"Revert of the support session {run.params['session_id']}",
            idempotency_key=key_of(run, item),
        )

    def result(self, job: Operation) -> dict[str, Any]:
        if job.error_code == "PROMO_013":
            return outcome("conflict", f"{job.error_message} Left as it is.", code=job.error_code, job=str(job.pk))
        return super().result(job)


class RolledBack(JobReverter):
    """A rollback is never reverted: what it took away needs its people's approval again."""

    name, kind = promotions.ROLLBACK, "rollback"

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        promotion = promotion_of(job)
        name = f"“{promotion.name}”" if promotion else "the promotion"
        return Judged(
            Verdict.IMPOSSIBLE,
            f"What it took back was approved by people, and only they approve it again: plan {name} anew and execute"
            " it, or restore the snapshot taken before the rollback.",
        )


def promotion_of(job: Operation) -> Promotion | None:
    return Promotion.objects.filter(pk=job.subject_id).first() if job.subject_id else None


ROW_REVERTERS = (
    PromotionDrafts(),
    NothingToRevert("review_comments", "A comment changes nothing that runs; its author may delete it."),
    NothingToRevert("review_marks", "That somebody has viewed a change is about that person."),
)
PROMOTION = Promoted()
ROLLBACK = RolledBack()
