"""One worker's hold on one operation: its steps, its effects outside, and the fence that every write carries.

An effect outside is written down before (intent) and after (result); an intent without a result is looked at before
anything is done again. See docs/adr/0003.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core import context, outgoing, support
from core.support import InForce, SupportEnded
from tenants.scope import tenant_or_platform_scope

from . import outcomes, stream
from .boundaries import checkpoint
from .effects import Effect, ExternalCall, ProbeResult
from .errors import Cancelled, Interrupted, LeaseLost
from .journal import Journal
from .lease import Lease
from .models import Operation, OperationStep, StepState
from .outcomes import Outcome
from .steps import Conclusion, is_done

#: Set when this process is asked to stop: running work hands itself back at its next boundary.
stopping = threading.Event()

#: Putting back what a support session's work has changed is the console's own act, on record as such.
CONSOLE: dict[str, Any] = {"actor_id": None, "acting_as_id": None, "session_id": None, "source": "system"}


class WorkerStopping(Interrupted):
    """This process is stopping: the operation goes back to the queue."""


class Run:
    """One worker's hold on one operation: what a handler works with."""

    def __init__(self, operation: Operation, *, lease_seconds: float) -> None:
        self.operation = operation
        self.params: dict[str, Any] = operation.params
        #: Whose work it is: a tenant's, or the platform's (None).
        self.tenant_id_or_none: uuid.UUID | None = operation.tenant_id
        self.lease = Lease(operation, seconds=lease_seconds)
        self.lost, self.cancel_requested = self.lease.lost, self.lease.cancel_requested
        #: The support session that asked for this work, if one did.
        self.session_id = context.ActionContext.from_dict(operation.context).session_id
        self._shields = 0
        self._finishing: InForce | None = None
        self._journal = Journal(operation)

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant, for work that always has one. Asked of the platform's work it is the handler's mistake."""
        if self.tenant_id_or_none is None:
            raise RuntimeError(f"{self.operation.kind} {self.operation.pk} is the platform's: it has no tenant.")
        return self.tenant_id_or_none

    @property
    def has_begun(self) -> bool:
        """Whether there is a step on record, of this attempt or of one before."""
        return bool(self._journal)

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

    def refuse_sending(self) -> None:
        """Raise if a write must not leave any more. Asked before each, also before one that waited for its turn."""
        if self.cancel_requested.is_set() and support.current() is not None:
            raise SupportEnded
        self.lease.confirm()

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
        self.lease.report(done, total, note)

    # -- steps --------------------------------------------------------------------------------------------------

    def done_steps(self) -> dict[str, OperationStep]:
        """The steps that have ended well, by name."""
        return {step.name: step for step in self._journal if is_done(step)}

    def failed_step(self, prefix: str) -> OperationStep | None:
        """A step that failed in an earlier attempt, which was ended before it could act on the failure."""
        failed = (step for step in self._journal if step.state == StepState.FAILED)
        return next((step for step in failed if step.name.startswith(prefix)), None)

    def was_begun(self, name: str) -> bool:
        """Whether a step has an intent and no result: nobody knows what became of it."""
        return self._journal.was_begun(name)

    def is_new(self, name: str) -> bool:
        """Whether this run was the first to begin a step."""
        return self._journal[name].attempt == 1

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
        done = {effect.name: self._journal.done(effect.name) for effect in effects}
        results = {name: step.result for name, step in done.items() if step is not None}
        todo = [effect for effect in effects if done[effect.name] is None]
        if concurrency > 1 and len(todo) > 1:
            before = len(results)
            results |= stream.carry_out(
                self, todo, concurrency=concurrency, chunk=chunk, on_progress=lambda count: on_progress(before + count)
            )
            return results
        for start in range(0, len(todo), chunk):
            self.check()

            def tell(ended: int, before: int = len(results)) -> None:
                on_progress(before + ended)

            tell(0)
            results.update(self._one_by_one(todo[start : start + chunk], tell))
        return results

    def _one_by_one(self, effects: Sequence[Effect], on_progress: Callable[[int], None]) -> dict[str, Any]:
        unclear = {e.name for e in effects if self.was_begun(e.name)}
        checkpoint(f"{effects[0].name}:before-intent")
        self.record((), effects)
        checkpoint(f"{effects[0].name}:after-intent")
        found: list[Outcome] = []
        for effect in effects:
            found.append(self.act(effect, look_first=effect.name in unclear))
            if found[-1].failure is not None:
                break
            on_progress(len(found))
        checkpoint(f"{effects[0].name}:after-effect")
        self._conclude(found)
        checkpoint(f"{effects[0].name}:after-result")
        if found[-1].failure is not None:
            raise found[-1].failure
        return {outcome.conclusion.name: outcome.conclusion.result for outcome in found}

    def _conclude(self, found: Sequence[Outcome]) -> None:
        """Commit how the effects of a chunk ended. Raises ``LeaseLost``."""
        known = [outcome.conclusion for outcome in found if outcome.conclusion.state != StepState.INTENT]
        try:
            if isinstance(found[-1].failure, LeaseLost):
                raise found[-1].failure
            self.record(known)
        except LeaseLost:
            self.record_last(known)
            raise

    def act(self, effect: Effect, *, look_first: bool) -> Outcome:
        """Carry out an effect whose intent is committed: how it ended (INTENT: it did not), and with which failure."""
        try:
            self._refuse_beginning()
        except Interrupted as error:
            return Outcome(Conclusion(effect.name, StepState.INTENT), error)
        intent = self._journal[effect.name].intent or {}
        with outgoing.guarded_by(self.refuse_sending):
            return outcomes.carry_out(effect, intent, look_first=look_first)

    def _refuse_beginning(self) -> None:
        if self.lost.is_set():
            raise LeaseLost
        if self.session_id is not None:
            # A session's end stops its work before the next effect, not only before the next chunk.
            self.check()

    def look_back(self, effects: Sequence[Effect]) -> None:
        """Put on record what became of effects that an earlier attempt began; none is done. For who puts back.

        Raises what is transient: then nobody knows yet.
        """
        conclusions = []
        for effect in effects:
            if self.was_begun(effect.name):
                conclusions.append(outcomes.looked_back(effect, self._journal[effect.name].intent or {}))
                self._journal.expect(effect)
        if conclusions:
            self.record(conclusions)

    def record(self, conclusions: Sequence[Conclusion], intents: Sequence[Effect] = ()) -> None:
        """Commit results and intents together. A step that nobody knows the outcome of keeps its first intent.

        Results are put on record also after the end of a support session that asked for them; intents are not. The
        trail gets both in the same transaction, by one statement.
        """
        rows = self._journal.rows_for(intents)
        try:
            with contextlib.nullcontext() if rows else support.suspended(), self.fenced():
                self._journal.write(conclusions, rows, intents)
        except SupportEnded:
            if conclusions and rows:
                self.record(conclusions)
            raise
        self._journal.committed(conclusions, rows, intents)

    def record_last(self, conclusions: Sequence[Conclusion]) -> None:
        """Put on record what had left when the operation was ended by hand, while its lock is still kept.

        Nothing where another worker has taken over: that one has looked for itself.
        """
        if not conclusions:
            return
        with support.suspended(), self._scope():
            if not self.lease.keep():
                return
            self._journal.write(conclusions)
        self._journal.committed(conclusions)

    # -- the fence ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction in the operation's scope that commits only while this run still holds the operation.

        Handlers write their own rows inside it, so that a worker that was taken over leaves nothing behind.
        """
        with self._scope():
            self.lease.renew()
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

    def heartbeat(self) -> None:
        """Renew the lease; learns of cancellation. Raises ``LeaseLost`` where it was taken over or ended by hand."""
        with tenant_or_platform_scope(self.tenant_id_or_none):
            self.lease.renew()
