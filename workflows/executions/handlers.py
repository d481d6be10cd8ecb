"""The operation that retries executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from core import clock
from operations.engine import Run
from operations.handlers import register
from workflows import job_summaries
from workflows.gateway import client_for, environment_by_id
from workflows.models import Environment
from workflows.n8n import errors as n8n_errors

from . import selectors, storing
from .errors import RetryUnfinished, RetryUnsupported
from .reading import run_of
from .retrying import Outcome, RetryTarget, effect_of
from .services import RETRY_KIND

if TYPE_CHECKING:
    from workflows.n8n import N8nClient


@register
class Retry:
    """Retry failed executions one after the other. Where n8n refuses one, that is recorded and the next one follows.

    What was retried stays so when the job is cancelled: there is nothing to undo.
    """

    kind: ClassVar[str] = RETRY_KIND
    summary = staticmethod(job_summaries.retried)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        with client_for(environment) as client:
            if not client.spec().can("retry_execution"):
                raise RetryUnsupported(details={"environment_id": str(environment.pk)})
            outcomes = self._carry_out(run, environment, client)
        refused = [outcome for outcome in outcomes if outcome.outcome == "refused"]
        result = {
            "retried": len(outcomes) - len(refused),
            "succeeded": sum(outcome.status == "success" for outcome in outcomes),
            "refused": len(refused),
            "executions": [outcome.to_json() for outcome in outcomes],
        }
        if refused and len(refused) == len(outcomes):
            reason = (refused[0].error or {}).get("message", "")
            raise RetryUnfinished(f"n8n retried none of them: {reason}", details=result)
        return result

    def _carry_out(self, run: Run, environment: Environment, client: N8nClient) -> list[Outcome]:
        rows = run.params["executions"]
        with run.fenced():
            names = selectors.names_of(environment.pk, [row["workflow_id"] for row in rows])
            feed = selectors.reading(environment.pk).feed
        newest = (feed.newest if feed else None) or 0
        outcomes: list[Outcome] = []
        for done, row in enumerate(rows):
            run.check()
            run.progress(done, len(rows), f"Execution {row['number']}")
            mapping = names.get(row["workflow_id"])
            name = mapping.env_name if mapping else ""
            target = RetryTarget(row["number"], row["workflow_id"], name, max(newest, row["number"]))
            outcome = Outcome.read(run.effect(effect_of(environment, client, target)))
            newest = max(newest, outcome.retry or 0)
            outcomes.append(self._stored(run, environment, client, outcome))
        return outcomes

    def _stored(self, run: Run, environment: Environment, client: N8nClient, outcome: Outcome) -> Outcome:
        """Store the new execution, so that pages show it at once; the outcome with its present status.

        1.123.0 answers a retry that has ended as *running*. The next round would store the execution as well.
        """
        if outcome.retry is None:
            return outcome
        try:
            found = run_of(client.get_execution(outcome.retry), now=clock.now())
        except n8n_errors.N8nError:
            return outcome
        if found is None:
            return outcome
        with run.fenced():
            storing.store(environment=environment, runs=[found], now=clock.now())
        return msgspec.structs.replace(outcome, status=found.status)
