"""What a run knows and writes of its operation's steps: intents before effects, results after, the trail with both."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime

from audit.services import Event, record_events
from core import clock
from tenants.scope import tenant_or_platform_scope

from . import external_calls, steps
from .effects import Effect, ExternalCall
from .models import Operation, OperationStep, StepState
from .steps import Conclusion


class Journal:
    """The steps of one operation as this run last saw them. Writing happens inside the caller's fenced transaction."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        with tenant_or_platform_scope(operation.tenant_id):
            self._steps = steps.load(operation.pk)
        self._next_position = max((step.position for step in self._steps.values()), default=0) + 1
        self._external_calls: dict[str, ExternalCall | None] = {}

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __iter__(self) -> Iterator[OperationStep]:
        return iter(self._steps.values())

    def __getitem__(self, name: str) -> OperationStep:
        return self._steps[name]

    def done(self, name: str) -> OperationStep | None:
        """A step that has ended well."""
        step = self._steps.get(name)
        return step if steps.is_done(step) else None

    def was_begun(self, name: str) -> bool:
        """Whether a step has an intent and no result: nobody knows what became of it."""
        step = self._steps.get(name)
        return step is not None and step.state in (StepState.INTENT, StepState.UNKNOWN)

    def expect(self, effect: Effect) -> None:
        """Remember the external call of an effect whose intent an earlier run has written."""
        self._external_calls[effect.name] = effect.external_call

    def rows_for(self, effects: Sequence[Effect]) -> list[OperationStep]:
        """Rows of effects that begin now. One of unknown outcome keeps its first intent."""
        now = clock.now()
        return [self._intent_row(effect, now) for effect in effects]

    def write(
        self, conclusions: Sequence[Conclusion], rows: Sequence[OperationStep] = (), effects: Sequence[Effect] = ()
    ) -> None:
        """Write results and intents, and both into the trail by one statement; ``rows`` are those of ``effects``."""
        if conclusions:
            steps.write_conclusions(self._operation.pk, conclusions)
        if rows:
            steps.write_intents(rows)
        record_events(self._events(conclusions, rows, effects))

    def _events(
        self, conclusions: Sequence[Conclusion], rows: Sequence[OperationStep], effects: Sequence[Effect]
    ) -> Iterator[Event]:
        tenant_id = self._operation.tenant_id
        for conclusion in conclusions:
            call = self._external_calls.get(conclusion.name)
            for tell in (external_calls.ended, external_calls.written):
                if (event := tell(call, conclusion, tenant_id=tenant_id)) is not None:
                    yield event
        begun = (
            external_calls.intended(effect, attempt=row.attempt, tenant_id=tenant_id)
            for effect, row in zip(effects, rows, strict=True)
        )
        yield from filter(None, begun)

    def committed(
        self, conclusions: Sequence[Conclusion], rows: Sequence[OperationStep] = (), effects: Sequence[Effect] = ()
    ) -> None:
        """Remember what ``write`` wrote, once it is committed."""
        for conclusion in conclusions:
            step = self._steps[conclusion.name]
            step.state, step.result, step.error = conclusion.state, conclusion.result, conclusion.error
        self._steps.update({row.name: row for row in rows})
        self._external_calls.update({effect.name: effect.external_call for effect in effects})

    def _intent_row(self, effect: Effect, now: datetime) -> OperationStep:
        known = self._steps.get(effect.name)
        row = OperationStep(
            tenant_id=self._operation.tenant_id,
            operation_id=self._operation.pk,
            name=effect.name[:160],
            title=effect.title[:240],
            state=StepState.INTENT,
            intent=known.intent if known and self.was_begun(effect.name) else effect.intent,
            fence=self._operation.fence,
            started_at=now,
        )
        if known is not None:
            row.id, row.position, row.attempt = known.pk, known.position, known.attempt + 1
        else:
            row.id, row.position, row.attempt = uuid.uuid4(), self._next_position, 1
            self._next_position += 1
        return row
