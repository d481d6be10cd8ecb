"""The job that reverts a session's writes.

``impersonation.revert``: ``plan`` (the chosen items as they were judged when the job began), then ``undo:<item>``, the
newest write first. Each step ends with how reverting went, a failure included: one that cannot be reverted does not
stop the others.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any, ClassVar

from core.errors import OpsError
from core.wording import counted
from impersonation import selectors
from operations.effects import Effect, ProbeResult
from operations.engine import Run
from operations.errors import Interrupted, UnknownOutcome
from operations.handlers import register
from operations.summaries import JobSummary
from tenants.scope import platform_scope

from .items import Item, outcome
from .planning import plan_of, reverter_of
from .services import REVERT

#: What else becomes of a change, in words.
LEFT = (
    ("already", "undone before"),
    ("nothing", "with nothing to undo"),
    ("conflict", "left alone, as somebody changed it since"),
    ("failed", "failed"),
)


@register
class Revert:
    """Parameters: ``session_id, items, force`` (ids of items)."""

    kind: ClassVar[str] = REVERT

    def summary(self, result: dict[str, Any]) -> JobSummary:
        counts = result.get("counts") or {}
        sentence = f"{counted(counts.get('undone', 0), 'change')} of the session undone"
        left = [f"{counts[name]:,} {word}" for name, word in LEFT if counts.get(name)]
        return JobSummary(f"{', '.join([sentence, *left])}.")

    def run(self, run: Run) -> dict[str, Any]:
        planned = run.step("plan", "See what is there now", lambda: self._plan(run))
        items = [Item.from_dict(row) for row in planned["items"]]
        results = []
        for number, item in enumerate(items):
            run.progress(number, len(items), f"Reverting: {item.name}")
            results.append({"id": item.id, "name": item.name, "kind": item.kind, **self._revert(run, item)})
        run.progress(len(items), len(items), "Done")
        counts = Counter(row["outcome"] for row in results)
        whole = not counts["failed"] and not counts["conflict"]
        return {
            "session_id": run.params["session_id"],
            "status": "undone" if whole else "partly_undone",
            "counts": dict(counts),
            "items": results,
        }

    def _plan(self, run: Run) -> dict[str, Any]:
        with platform_scope():
            session = selectors.session_by_id(uuid.UUID(run.params["session_id"]))
        if session is None or session.impersonated_tenant_id != run.tenant_id:
            raise OpsError("The session is gone.")
        chosen = set(run.params["items"])
        return {"items": [item.to_dict() for item in plan_of(session).items if item.id in chosen]}

    def _revert(self, run: Run, item: Item) -> dict[str, Any]:
        reverter, force = reverter_of(item), item.id in run.params["force"]

        def act() -> dict[str, Any]:
            if not item.may_be_reverted:
                return outcome("already" if item.verdict == "undone" else "nothing", item.why)
            try:
                return reverter.revert(run, item, force=force)
            except (Interrupted, UnknownOutcome):
                raise
            except OpsError as error:
                return outcome("failed", f"{error.message} {error.recovery}", code=error.code)

        def look(_intent: dict[str, Any]) -> ProbeResult:
            return reverter.probe(run, item)

        title = f"Revert: {item.kind} {item.name}"
        intent = {"item": item.id, "did": item.did, "verdict": str(item.verdict), "force": force}
        result: dict[str, Any] = run.effect(Effect(f"undo:{item.id}"[:160], title, intent, act, look))
        return result
