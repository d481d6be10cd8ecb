"""One worker's hold on one operation: its steps, its effects outside, and the fence that every write carries.

An effect outside is written down before (intent) and after (result); an intent without a result is looked at before
anything is done again. See docs/adr/0003.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from audit.services import record_events
from core import clock, context, support
from core.errors import OpsError
from core.support import InForce, SupportEnded
from tenants.scope import tenant_or_platform_scope

from . import external_calls, stream
from . import steps as step_rows
from .effects import Effect, ExternalCall, ProbeResult
from .errors import Cancelled, Interrupted, LeaseLost, UnknownOutcome
from .handlers import checkpoint
from .models import Operation, OperationStep, StepState

logger = logging.getLogger(__name__)

#: Set when this process is asked to stop: running work hands itself back at its next boundary.
stopping = threading.Event()

#: Putting back what a support session's work has changed is the console's own act, on record as such.
CONSOLE: dict[str, Any] = {"actor_id": None, "acting_as_id": None, "session_id": None, "source": "system"}

#: Runbooks take a running job for stuck whose ``updated_at`` is old. What watches a job is not woken at each beat.
_SIGN_OF_LIFE = (
    "CASE WHEN updated_at < clock_timestamp() - interval '10 seconds' THEN clock_timestamp() ELSE updated_at END"
)


class WorkerStopping(Interrupted):
    """This process is stopping: the operation goes back to the queue."""


class Run:
    """One worker's hold on one operation: what a handler works with."""

    def __init__(self, operation: Operation, *, lease_seconds: float) -> None:
        self.operation = operation
        self.params: dict[str, Any] = operation.params
        #: Whose work it is: a tenant's, or the platform's (None).
        self.tenant_id_or_none: uuid.UUID | None = operation.tenant_id
        self.lease_seconds = lease_seconds
        self.lost = threading.Event()
        self.cancel_requested = threading.Event()
        if operation.cancel_requested_at is not None:
            self.cancel_requested.set()
        #: The support session that asked for this work, if one did.
        self.session_id = context.ActionContext.from_dict(operation.context).session_id
        self._shields = 0
        self._finishing: InForce | None = None
        self._fence = operation.fence
        self._progress: tuple[int, int, str] | None = None
        self._lock = threading.Lock()
        with tenant_or_platform_scope(self.tenant_id_or_none):
            self._steps = step_rows.load(operation.pk)
        self._next_position = max((step.position for step in self._steps.values()), default=0) + 1
        self._external_calls: dict[str, ExternalCall | None] = {}

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant, for work that always has one. Asked of the platform's work it is the handler's mistake."""
        if self.tenant_id_or_none is None:
            raise RuntimeError(f"{self.operation.kind} {self.operation.pk} is the platform's: it has no tenant.")
        return self.tenant_id_or_none

    @property
    def has_begun(self) -> bool:
        """Whether there is a step on record, of this attempt or of one before."""
        return bool(self._steps)

    @property
    def is_last_attempt(self) -> bool:
        """Whether nothing is tried again by itself after this one."""
        return self.operation.attempt >= self.operation.max_attempts

    # -- control ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise if this run must stop: lease lost, cancelled, or the process is going down. Cheap; call it often."""
        if self.lost.is_set():
            raise LeaseLost
        if stopping.is_set():
            raise WorkerStopping
        if self.is_cancelled:
            raise Cancelled

    @property
    def is_cancelled(self) -> bool:
        """Whether a person wants it to stop, and it may."""
        return self.cancel_requested.is_set() and not self._shields

    @contextlib.contextmanager
    def shielded(self, *, finishing: bool = False) -> Iterator[None]:
        """Ignore a wish to cancel inside the block: for putting things back.

        Where a support session asked for the work, putting back is the console's own act: it goes on after the
        session has ended. ``finishing`` is for the last part of what was asked for, once it is too late to stop: each
        transaction of it is the session's for as long as the session stands, and the console's from then on.
        """
        self._shields += 1
        asked_in, before = support.current(), self._finishing
        try:
            if self.session_id is None:
                yield
            elif finishing:
                self._finishing = asked_in or before
                with support.suspended():
                    yield
            else:
                self._finishing = None
                with support.suspended(), context.acting(**CONSOLE):
                    yield
        finally:
            self._finishing = before
            self._shields -= 1

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Say how far the work is; written with the next step or heartbeat."""
        with self._lock:
            self._progress = (done, total, note[:200])

    def done_steps(self) -> dict[str, OperationStep]:
        """The steps that have ended well, by name."""
        return {name: step for name, step in self._steps.items() if step_rows.is_done(step)}

    def failed_step(self, prefix: str) -> OperationStep | None:
        """A step that failed in an earlier attempt, which was ended before it could act on the failure."""
        failed = (step for step in self._steps.values() if step.state == StepState.FAILED)
        return next((step for step in failed if step.name.startswith(prefix)), None)

    # -- steps --------------------------------------------------------------------------------------------------

    def step(
        self,
        name: str,
        title: str,
        act: Callable[[], Any],
        *,
        intent: dict[str, Any] | None = None,
        external_call: ExternalCall | None = None,
    ) -> Any:
        """Do something that may be done again safely; once done, later runs get the stored result.

        The result must be JSON-able.
        """
        return self.effect(
            Effect(name, title, intent or {}, act, lambda _intent: ProbeResult.not_done(), external_call)
        )

    def effect(self, effect: Effect) -> Any:
        """Carry out one effect with intent and result; see ``effects``."""
        return self.effects([effect])[effect.name]

    def effects(
        self,
        effects: Sequence[Effect],
        *,
        concurrency: int = 1,
        chunk: int = 16,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> dict[str, Any]:
        """Carry out effects, ``concurrency`` at a time, and return their results by name.

        Intents of a chunk are committed together before its first write. One at a time, its results are committed
        after its last; side by side, with the next chunk's intents, which are committed while the chunk is still
        under way (see ``stream``). After the first failure nothing more is begun; it is raised once all is on record.
        ``on_progress`` is called with how many have ended, before they are recorded.
        """
        results: dict[str, Any] = {}
        todo: list[Effect] = []
        for effect in effects:
            step = self._steps.get(effect.name)
            if step is not None and step_rows.is_done(step):
                results[effect.name] = step.result
            else:
                todo.append(effect)
        if concurrency > 1 and len(todo) > 1:
            before = len(results)
            results |= stream.carry_out(
                self, todo, concurrency=concurrency, chunk=chunk, on_progress=lambda count: on_progress(before + count)
            )
            return results
        for start in range(0, len(todo), chunk):
            self.check()
            on_progress(len(results))
            results.update(self._one_by_one(todo[start : start + chunk]))
        return results

    def _one_by_one(self, effects: Sequence[Effect]) -> dict[str, Any]:
        unclear = {e.name for e in effects if self.was_begun(e.name)}
        checkpoint(f"{effects[0].name}:before-intent")
        self.record((), effects)
        checkpoint(f"{effects[0].name}:after-intent")
        outcomes: list[tuple[step_rows.Conclusion, Exception | None]] = []
        for effect in effects:
            outcome = self.act(effect, look_first=effect.name in unclear)
            outcomes.append(outcome)
            if outcome[1] is not None:
                break
        checkpoint(f"{effects[0].name}:after-effect")
        failure = outcomes[-1][1]
        if isinstance(failure, LeaseLost):
            raise failure
        self.record([conclusion for conclusion, _ in outcomes if conclusion.state != StepState.INTENT])
        checkpoint(f"{effects[0].name}:after-result")
        if failure is not None:
            raise failure
        return {conclusion.name: conclusion.result for conclusion, _ in outcomes}

    def was_begun(self, name: str) -> bool:
        """Whether a step has an intent and no result: nobody knows what became of it."""
        step = self._steps.get(name)
        return step is not None and step.state in (StepState.INTENT, StepState.UNKNOWN)

    def is_new(self, name: str) -> bool:
        """Whether this run was the first to begin a step."""
        return self._steps[name].attempt == 1

    def act(self, effect: Effect, *, look_first: bool) -> tuple[step_rows.Conclusion, Exception | None]:
        """Carry out an effect whose intent is committed: how it ended (INTENT: it did not), and with which failure."""
        name = effect.name
        try:
            if self.lost.is_set():
                raise LeaseLost
            if self.session_id is not None:
                # A session's end stops its work before the next effect, not only before the next chunk.
                self.check()
            if look_first:
                intent = self._steps[name].intent or {}
                looked = effect.look(intent)
                if looked.state != "not_done":
                    return self._from_look(effect, looked)
            try:
                result = effect.act()
            except Exception as error:
                if not getattr(error, "ambiguous", False):
                    raise
                looked = effect.look(self._steps[name].intent or {})
                if looked.state == "not_done":
                    raise
                return self._from_look(effect, looked)
            checkpoint(f"{name}:effect-answered")
        except Interrupted as error:
            return step_rows.Conclusion(name, StepState.INTENT), error
        except SupportEnded:
            return step_rows.Conclusion(name, StepState.INTENT), Cancelled()
        except OpsError as error:
            state = StepState.UNKNOWN if isinstance(error, UnknownOutcome) else StepState.FAILED
            return step_rows.Conclusion(name, state, error=error.to_dict()), error
        except Exception as error:
            logger.exception("step failed", extra={"step": name})
            told = {"code": "UNEXPECTED", "message": f"{type(error).__name__}: {error}"[:500]}
            # What nobody foresaw may have come after the write: whoever begins again looks first.
            state = StepState.UNKNOWN if effect.external_call is not None else StepState.FAILED
            return step_rows.Conclusion(name, state, error=told), error
        return step_rows.Conclusion(name, StepState.DONE, result=result), None

    def look_back(self, effects: Sequence[Effect]) -> None:
        """Put on record what became of effects that an earlier attempt began; none is done. For who puts back.

        Raises what is transient: then nobody knows yet.
        """
        conclusions = []
        for effect in effects:
            if not self.was_begun(effect.name):
                continue
            try:
                looked = effect.look(self._steps[effect.name].intent or {})
            except OpsError as error:
                if getattr(error, "transient", False):
                    raise
                conclusions.append(step_rows.Conclusion(effect.name, StepState.FAILED, error=error.to_dict()))
            else:
                begun = looked.state != "not_done"
                skipped = step_rows.Conclusion(effect.name, StepState.SKIPPED)
                conclusions.append(self._from_look(effect, looked)[0] if begun else skipped)
            self._external_calls[effect.name] = effect.external_call
        if conclusions:
            self.record(conclusions)

    def _from_look(self, effect: Effect, looked: ProbeResult) -> tuple[step_rows.Conclusion, Exception | None]:
        if looked.state == "done":
            return step_rows.Conclusion(effect.name, StepState.DONE, result=looked.result), None
        error = UnknownOutcome(
            f"“{effect.title}” was begun, and what is there now is neither the old nor the new state.",
            details={"step": effect.name, **looked.details},
        )
        return step_rows.Conclusion(effect.name, StepState.UNKNOWN, error=error.to_dict()), error

    def record(self, conclusions: Sequence[step_rows.Conclusion], intents: Sequence[Effect] = ()) -> None:
        """Commit results and intents together. A step that nobody knows the outcome of keeps its first intent.

        Results are put on record also after the end of a support session that asked for them; intents are not. The
        trail gets both in the same transaction, by one statement.
        """
        now = clock.now()
        rows = [self._intent_row(effect, now) for effect in intents]
        events = [
            external_calls.ended(self._external_calls.get(c.name), c, tenant_id=self.tenant_id_or_none)
            for c in conclusions
        ]
        for effect, row in zip(intents, rows, strict=True):
            events.append(external_calls.intended(effect, attempt=row.attempt, tenant_id=self.tenant_id_or_none))
        try:
            with contextlib.nullcontext() if rows else support.suspended(), self.fenced():
                if conclusions:
                    step_rows.write_conclusions(self.operation.pk, conclusions)
                if rows:
                    step_rows.write_intents(rows)
                record_events(event for event in events if event is not None)
        except SupportEnded:
            if conclusions and rows:
                self.record(conclusions)
            raise
        for conclusion in conclusions:
            step = self._steps[conclusion.name]
            step.state, step.result, step.error = conclusion.state, conclusion.result, conclusion.error
        self._steps.update({row.name: row for row in rows})
        self._external_calls.update({effect.name: effect.external_call for effect in intents})

    def _intent_row(self, effect: Effect, now: datetime) -> OperationStep:
        known = self._steps.get(effect.name)
        if known is None:
            self._next_position += 1
        return OperationStep(
            id=known.pk if known else uuid.uuid4(),
            tenant_id=self.tenant_id_or_none,
            operation_id=self.operation.pk,
            position=known.position if known else self._next_position - 1,
            name=effect.name[:160],
            title=effect.title[:240],
            state=StepState.INTENT,
            intent=known.intent if known and self.was_begun(effect.name) else effect.intent,
            attempt=known.attempt + 1 if known else 1,
            fence=self._fence,
            started_at=now,
        )

    # -- the fence ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction in the operation's scope that commits only while this run still holds the operation.

        Handlers write their own rows inside it, so that a worker that was taken over leaves nothing behind.
        """
        with self._scope():
            self._renew()
            yield

    @contextlib.contextmanager
    def _scope(self) -> Iterator[None]:
        """The operation's scope; while finishing, in the name of the session that asked, or of the console after it."""
        with contextlib.ExitStack() as stack:
            try:
                if self._finishing is not None:
                    stack.enter_context(support.in_force(self._finishing))
                stack.enter_context(tenant_or_platform_scope(self.tenant_id_or_none))
            except SupportEnded:
                if self._finishing is None:
                    raise
                stack.enter_context(support.suspended())
                stack.enter_context(context.acting(**CONSOLE))
                stack.enter_context(tenant_or_platform_scope(self.tenant_id_or_none))
            yield

    def _renew(self) -> None:
        with self._lock:
            progress = self._progress
        sets = "heartbeat_at = clock_timestamp(), lease_expires_at = clock_timestamp() + make_interval(secs => %s)"
        values: list[Any] = [self.lease_seconds]
        if progress is not None:
            sets += ", progress_done = %s, progress_total = %s, progress_note = %s, updated_at = clock_timestamp()"
            values += progress
        else:
            sets += f", updated_at = {_SIGN_OF_LIFE}"
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE background_jobs SET {sets} WHERE id = %s AND fence = %s AND status = 'RUNNING'"  # noqa: S608
                " RETURNING cancel_requested_at IS NOT NULL",
                [*values, self.operation.pk, self._fence],
            )
            row = cursor.fetchone()
        if row is None:
            self.lost.set()
            raise LeaseLost
        if row[0]:
            self.cancel_requested.set()

    def heartbeat(self) -> None:
        """Renew the lease; learns of cancellation and of being taken over."""
        with tenant_or_platform_scope(self.tenant_id_or_none):
            self._renew()
