"""One retry of a failed execution: an effect on n8n that must not happen twice by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from core import clock
from operations.effects import Effect, ExternalCall, ProbeResult
from operations.errors import TryAgain
from workflows.models import Environment
from workflows.n8n import errors as n8n_errors

from .reading import ReportedExecution, rows_of, run_of

if TYPE_CHECKING:
    from workflows.n8n import N8nClient

#: An accepted retry is in n8n's list at once; one that is not listed after this time was never begun.
CERTAIN_AFTER = timedelta(seconds=60)
LOOKED_THROUGH_PAGES = 8
LOOKED_AT_ROWS = 100


class RetryTarget(msgspec.Struct, frozen=True):
    """An execution to be retried. ``after`` is the highest number known before: a retry of it has a higher one."""

    number: int
    workflow_id: str
    workflow_name: str
    after: int


class Outcome(msgspec.Struct, frozen=True):
    """The outcome: ``retried`` (as execution ``retry``, now in ``status``) or ``refused`` (``error``: code, message).

    Kept as a step's result; fields are only ever added, with defaults.
    """

    outcome: str
    number: int
    workflow_id: str
    retry: int | None = None
    status: str = ""
    error: dict[str, Any] | None = None

    @classmethod
    def retried(cls, target: RetryTarget, run: ReportedExecution) -> Outcome:
        """n8n has begun ``run`` as the retry."""
        return cls("retried", target.number, target.workflow_id, run.number, run.status)

    @classmethod
    def refused(cls, target: RetryTarget, code: str, message: str) -> Outcome:
        """n8n has not retried it, for a reason in words."""
        error = {"code": code, "message": message}
        return cls("refused", target.number, target.workflow_id, error=error)

    @classmethod
    def read(cls, stored: Any) -> Outcome:
        """From a step's result. Raises ``msgspec.ValidationError`` where it is none."""
        return msgspec.convert(stored, cls)

    def to_json(self) -> dict[str, Any]:
        """For a step's result."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored


def effect_of(environment: Environment, client: N8nClient, target: RetryTarget) -> Effect:
    """The retry as an effect with intent and result (an ``Outcome`` as JSON)."""
    retry = _Retry(client, target)
    return Effect(
        name=f"retry:{target.number}",
        title=f"Retry execution {target.number} of {target.workflow_name or target.workflow_id or 'a workflow'}",
        intent={**msgspec.to_builtins(target), "begun_at": clock.now().isoformat()},
        act=retry.act,
        look=retry.look,
        external_call=ExternalCall(
            "n8n",
            "environments",
            environment.pk,
            f"{environment.name}: {target.workflow_name or target.workflow_id}"[:200],
            {
                "method": "POST",
                "path": f"/executions/{target.number}/retry",
                "workflow_id": target.workflow_id,
            },
        ),
    )


class _Retry:
    def __init__(self, client: N8nClient, target: RetryTarget) -> None:
        self.client, self.target = client, target

    def act(self) -> dict[str, Any]:
        if refusal := self._draft_in_the_way():
            return refusal.to_json()
        try:
            answer = self.client.retry_execution(self.target.number)
        except (n8n_errors.RemoteConflict, n8n_errors.RemoteNotFound, n8n_errors.Rejected) as error:
            return Outcome.refused(self.target, error.code, str(error.details.get("n8n") or error.message)).to_json()
        except n8n_errors.AmbiguousWrite as error:
            if not _n8n_gave_up(error):
                raise
            # n8n has answered, so it is done: either the retry is listed or it never will be.
            found = self._find(self.target.after)
            words = f"n8n met a fault of its own: {_cause(error).details.get('n8n')}"
            done = Outcome.retried(self.target, found) if found else None
            return (done or Outcome.refused(self.target, _cause(error).code, words)).to_json()
        run = run_of(answer, now=clock.now())
        if run is None or run.number <= self.target.after:
            raise n8n_errors.AmbiguousWrite("n8n's answer does not say which execution it began.")
        return Outcome.retried(self.target, run).to_json()

    def look(self, intent: dict[str, Any]) -> ProbeResult:
        """Whether a retry of the execution was begun since the intent. Raises ``TryAgain`` while that is open."""
        found = self._find(int(intent.get("after") or 0))
        if found is not None:
            return ProbeResult.done(Outcome.retried(self.target, found).to_json())
        if clock.now() - datetime.fromisoformat(intent["begun_at"]) < CERTAIN_AFTER:
            raise TryAgain(
                f"Whether execution {self.target.number} was retried is not certain yet; n8n will be asked again."
            )
        return ProbeResult.not_done()

    def _draft_in_the_way(self) -> Outcome | None:
        """From 2.0 on n8n retries with the saved draft, also where another version is published (2.41.1)."""
        try:
            raw = self.client.get_workflow(self.target.workflow_id)
        except n8n_errors.RemoteNotFound as error:
            return Outcome.refused(self.target, error.code, "The workflow is no longer in n8n.")
        live = raw.get("activeVersionId")
        if live and live != raw.get("versionId"):
            return Outcome.refused(
                self.target,
                "EXEC_006",
                "The workflow has a draft that is not published, and n8n would retry with the draft."
                " Publish or discard it first.",
            )
        return None

    def _find(self, after: int) -> ReportedExecution | None:
        """The newest execution above ``after`` that says it repeats this one."""
        for run in self._since(after):
            if run.retry_of == self.target.number and run.number > after:
                return run
        return None

    def _since(self, after: int) -> Iterator[ReportedExecution]:
        """The workflow's executions above ``after``: those running, then the others, the newest first."""
        for status in ("running", None):
            cursor: str | None = None
            for _ in range(LOOKED_THROUGH_PAGES):
                raw, cursor = self.client.executions(
                    limit=LOOKED_AT_ROWS, cursor=cursor, workflow_id=self.target.workflow_id, status=status
                )
                rows = rows_of(raw, at_most=LOOKED_AT_ROWS, now=clock.now())
                yield from sorted(rows.runs, key=lambda run: -run.number)
                if cursor is None or rows.lowest is None or rows.lowest <= after:
                    break


def _cause(error: n8n_errors.AmbiguousWrite) -> n8n_errors.N8nError:
    cause = error.__cause__
    return cause if isinstance(cause, n8n_errors.N8nError) else error


def _n8n_gave_up(error: n8n_errors.AmbiguousWrite) -> bool:
    """Whether n8n itself answered that it failed, and not a proxy behind which it may still be at work."""
    details = _cause(error).details
    return details.get("status") == 500 and bool(details.get("n8n"))
