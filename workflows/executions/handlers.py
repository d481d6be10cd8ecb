"""The long work of executions: retrying many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core import clock
from operations.engine import Run
from operations.handlers import register
from workflows.gateway import client_for, environment_by_id
from workflows.models import Environment
from workflows.n8n import errors as n8n_errors

from . import selectors, storing
from .errors import RetryUnfinished, RetryUnsupported
from .reading import run_of
from .retrying import Wanted, effect_of
from .services import RETRY_KIND

if TYPE_CHECKING:
    from workflows.n8n import N8nClient


@register
class Retry:
    """Retry failed executions one after the other. A refusal of one is on record and the next is done.

    What was retried stays so when the job is cancelled: there is nothing to undo.
    """

    kind: ClassVar[str] = RETRY_KIND

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        with client_for(environment) as client:
            if not client.spec().can("retry_execution"):
                raise RetryUnsupported(details={"environment_id": str(environment.pk)})
            outcomes = self._carry_out(run, environment, client)
        refused = [outcome for outcome in outcomes if outcome["outcome"] == "refused"]
        result = {
            "retried": len(outcomes) - len(refused),
            "succeeded": sum(outcome["status"] == "success" for outcome in outcomes),
            "refused": len(refused),
            "executions": outcomes,
        }
        if outcomes and len(refused) == len(outcomes):
            raise RetryUnfinished("n8n retried none of them: " + refused[0]["error"]["message"], details=result)
        return result

    def _carry_out(self, run: Run, environment: Environment, client: N8nClient) -> list[dict[str, Any]]:
        rows = run.params["executions"]
        with run.fenced():
            names = selectors.names_of(environment.pk, [row["workflow_id"] for row in rows])
            feed = selectors.reading(environment.pk).feed
        newest = (feed.newest if feed else None) or 0
        outcomes: list[dict[str, Any]] = []
        for done, row in enumerate(rows):
            run.check()
            run.progress(done, len(rows), f"Execution {row['number']}")
            mapping = names.get(row["workflow_id"])
            wanted = Wanted(
                row["number"], row["workflow_id"], mapping.env_name if mapping else "", max(newest, row["number"])
            )
            outcome = run.effect(effect_of(environment, client, wanted))
            newest = max(newest, outcome["retry"] or 0)
            outcomes.append(outcome | self._taken_down(run, environment, client, outcome))
        return outcomes

    def _taken_down(
        self, run: Run, environment: Environment, client: N8nClient, outcome: dict[str, Any]
    ) -> dict[str, str]:
        """The new execution at once, so that pages show it, and its status: 1.123.0 calls one that ended *running*.

        The next reading would as well.
        """
        if outcome["retry"] is None:
            return {}
        try:
            found = run_of(client.get_execution(outcome["retry"]), now=clock.now())
        except n8n_errors.N8nError:
            return {}
        if found is None:
            return {}
        with run.fenced():
            storing.store(environment=environment, runs=[found], now=clock.now())
        return {"status": found.status}
