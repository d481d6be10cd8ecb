"""One run of one promotion: its row, its plan, what its steps recorded. Shared by the way forward and the way back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec
from django.conf import settings
from django.urls import reverse

from core import clock
from core.documents import Document
from operations.engine import Run
from promotions.domain_events import publish_state
from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import Plan, PlanItem, read_plan
from snapshots.models import Snapshot
from workflows import identity
from workflows.models import Environment, WorkflowEnvMap
from workflows.writes import Release, Resolver, Written

from . import steps
from .approved_content import ApprovedContent
from .documents import ErrorRecord, ExecutionResult, WorkflowOutcome
from .results import attention_since, stored
from .steps import snapshot_id_for


class MappingsBefore(Document, frozen=True, kw_only=True):
    """How workflows were mapped in the target before the first write.

    ``keys``: key by n8n id. ``before``: of those to be created, by key, the status and the id that were recorded.
    """

    keys: dict[str, str]
    before: dict[str, tuple[str, str]]


class PromotionJob:
    """Made anew at every attempt; what is known comes from the rows."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.promotion_id = uuid.UUID(str(run.params["promotion_id"]))
        with run.fenced():
            self.promotion = Promotion.objects.select_related(
                "source_environment", "target_environment", "created_by", "tenant"
            ).get(pk=self.promotion_id)
        self.source: Environment = self.promotion.source_environment
        self.target: Environment = self.promotion.target_environment
        self.pre_id = snapshot_id_for(run.operation.pk, "pre")
        self.post_id = snapshot_id_for(run.operation.pk, "post")
        self.use(read_plan(self.promotion.plan))

    def use(self, plan: Plan) -> None:
        """Carry out this plan."""
        self.plan = plan
        self.items: Mapping[str, PlanItem] = plan.written_items
        self.approved = ApprovedContent(plan, self.source, self.target, self._release())

    def _release(self) -> Release:
        """How n8n's own history names what this promotion publishes."""
        asked = self.promotion.created_by
        by = f" by {asked.name or asked.email}" if asked is not None else ""
        origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "").rstrip("/")
        path = reverse("promotion", kwargs={"tenant_slug": self.promotion.tenant.slug, "pk": self.promotion.pk})
        return Release(self.promotion.name, f"Promoted from {self.source.name}{by}. {origin}{path}")

    def snapshot_before(self) -> Snapshot:
        """The snapshot that was taken before the first write."""
        with self.run.fenced():
            return Snapshot.objects.get(pk=self.pre_id)

    # -- mappings ---------------------------------------------------------------------------------------------------

    def record_mappings(self) -> None:
        """Record how things are mapped now, so that it can be restored."""
        self.run.step(steps.PLACES, "Record the workflow mapping", lambda: self._mappings_now().to_json())

    def _mappings_now(self) -> MappingsBefore:
        creates = list(self.approved.creating)
        with self.run.fenced():
            rows = WorkflowEnvMap.objects.filter(
                environment_id=self.target.pk, canonical_workflow__key__in=creates
            ).values_list("canonical_workflow__key", "status", "env_workflow_id")
            before = {key: (status, workflow_id) for key, status, workflow_id in rows}
            return MappingsBefore(keys=identity.key_by_workflow_id(self.target.pk), before=before)

    def mappings_before(self) -> MappingsBefore:
        """What ``record_mappings`` recorded."""
        return MappingsBefore.from_json(self.run.done_steps()[steps.PLACES].result)

    def resolver(self) -> Resolver:
        """Ids to keys as they were before the first write: the same at every attempt."""
        return Resolver(self.mappings_before().keys)

    # -- results ----------------------------------------------------------------------------------------------------

    def trailers(self) -> dict[str, str]:
        """What a commit says about where it comes from."""
        return {
            "Promotion-Id": str(self.promotion.pk),
            "Operation-Id": str(self.run.operation.pk),
            "Source-Commit": str(self.plan.source.commit or ""),
        }

    def outcomes(self, written: Mapping[str, Written] | None = None) -> tuple[WorkflowOutcome, ...]:
        """What became of each workflow, for the row and the API."""
        return tuple(_outcome(item, (written or {}).get(item.key)) for item in self.plan.items)

    def outcomes_of_failure(self, failed: Mapping[str, ErrorRecord]) -> tuple[WorkflowOutcome, ...]:
        """The same of a promotion that failed: which workflows it failed over, and what was said of each."""
        return tuple(
            msgspec.structs.replace(one, outcome="failed", error=failed[one.key]) if one.key in failed else one
            for one in self.outcomes()
        )

    def conclude(self, status: PromotionStatus, result: ExecutionResult) -> dict[str, str]:
        """Write the ending on the promotion's row, if this run still holds the operation."""
        now = clock.now()
        with self.run.fenced():
            mine = Promotion.objects.filter(pk=self.promotion_id, operation_id=self.run.operation.pk)
            concluded = mine.update(
                status=status,
                execution_result=stored(result),
                ended_at=now,
                updated_at=now,
                attention_since=attention_since(result, now),
            )
            if concluded:
                publish_state(mine.get())
        return {"status": status}


def _outcome(item: PlanItem, written: Written | None) -> WorkflowOutcome:
    outcome = WorkflowOutcome(
        key=item.key,
        name=item.name,
        action=item.action,
        expected_hash=item.expected_hash,
        wanted_hash=item.wanted_hash,
    )
    if written is None:
        return outcome
    return msgspec.structs.replace(
        outcome, outcome=written.outcome, env_workflow_id=written.env_workflow_id, left=written.left
    )
