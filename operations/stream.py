"""Effects side by side without a pause between chunks.

While a chunk's effects are under way, the next chunk's intents are committed, in one transaction with the results so
far: whoever acts never waits for the database. The order holds for each effect (intent committed, act, result
committed); a kill leaves at most a chunk and a half whose outcome is to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Protocol

from .boundaries import checkpoint
from .effects import Effect
from .errors import Interrupted, LeaseLost
from .models import StepState
from .outcomes import Outcome
from .steps import Conclusion


class EffectRun(Protocol):
    """What is needed of the run that the effects belong to; see ``run.Run``."""

    def check(self) -> None: ...
    def was_begun(self, name: str) -> bool: ...
    def is_new(self, name: str) -> bool: ...
    def act(self, effect: Effect, *, look_first: bool) -> Outcome: ...
    def record(self, conclusions: Sequence[Conclusion], intents: Sequence[Effect] = ()) -> None: ...
    def record_last(self, conclusions: Sequence[Conclusion]) -> None: ...


def carry_out(
    run: EffectRun, effects: Sequence[Effect], *, concurrency: int, chunk: int, on_progress: Callable[[int], None]
) -> dict[str, Any]:
    """Results by name. After the first failure, or a wish to stop, nothing more is begun; then it is raised."""
    with ThreadPoolExecutor(max_workers=min(concurrency, len(effects)), thread_name_prefix="effect") as pool:
        return _Stream(run, effects, pool, chunk=chunk, on_progress=on_progress).carry_out()


class _Stream:
    def __init__(
        self,
        run: EffectRun,
        effects: Sequence[Effect],
        pool: ThreadPoolExecutor,
        *,
        chunk: int,
        on_progress: Callable[[int], None],
    ) -> None:
        self._run, self._pool, self._on_progress = run, pool, on_progress
        self._first = effects[0].name
        self._waiting = [effects[start : start + chunk] for start in range(0, len(effects), chunk)]
        self._enough = chunk // 2
        self._under_way: dict[Future[Outcome], str] = {}
        self._ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._unrecorded: list[Conclusion] = []
        self._results: dict[str, Any] = {}
        self._failure: Exception | None = None

    def carry_out(self) -> dict[str, Any]:
        try:
            while self._waiting or self._under_way:
                self._heed()
                if self._waiting and len(self._under_way) <= self._enough:
                    self._begin(self._waiting.pop(0))
                elif self._under_way:  # a wish to stop may have left nothing to wait for
                    self._take(self._ended.get())
            checkpoint(f"{self._first}:after-effect")
            self._record(())
        except LeaseLost:
            self._cancel()
            self._record_last()
            raise
        except BaseException:
            self._cancel()
            raise
        checkpoint(f"{self._first}:after-result")
        if self._failure is not None:
            raise self._failure
        return self._results

    def _heed(self) -> None:
        """Stop where the run is to stop; a lost lease ends it here and now, since nothing can be recorded."""
        if isinstance(self._failure, LeaseLost):
            raise self._failure
        if self._failure is None:
            try:
                self._run.check()
            except Interrupted as wish:
                self._stop(wish)

    def _begin(self, effects: Sequence[Effect]) -> None:
        unclear = {effect.name for effect in effects if self._run.was_begun(effect.name)}
        self._on_progress(len(self._results))
        checkpoint(f"{effects[0].name}:before-intent")
        self._record(effects)
        checkpoint(f"{effects[0].name}:after-intent")
        for effect in effects:
            acting = self._pool.submit(copy_context().run, self._run.act, effect, look_first=effect.name in unclear)
            self._under_way[acting] = effect.name
            acting.add_done_callback(self._ended.put)

    def _record(self, intents: Sequence[Effect]) -> None:
        if self._unrecorded or intents:
            self._run.record(self._unrecorded, intents)
        self._unrecorded = []

    def _record_last(self) -> None:
        """Wait for what has left, and put on record what it came to."""
        while self._under_way:
            self._take(self._ended.get())
        self._run.record_last(self._unrecorded)

    def _take(self, ended: Future[Outcome]) -> None:
        name = self._under_way.pop(ended)
        if ended.cancelled():
            # Of one that an earlier run began nobody knows what became of it: its intent stays.
            if self._run.is_new(name):
                self._unrecorded.append(Conclusion(name, StepState.SKIPPED))
            return
        outcome = ended.result()
        if outcome.conclusion.state != StepState.INTENT:
            self._unrecorded.append(outcome.conclusion)
        if outcome.failure is None:
            self._results[name] = outcome.conclusion.result
            self._on_progress(len(self._results))
        else:
            self._stop(outcome.failure)

    def _stop(self, failure: Exception) -> None:
        if self._failure is None or isinstance(failure, LeaseLost):
            self._failure = failure
        self._waiting.clear()
        self._cancel()

    def _cancel(self) -> None:
        for acting in self._under_way:
            acting.cancel()
