"""What a kind of long work is made of: a class with a ``run`` that is safe to begin again from the top."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Protocol

from django.db import transaction

from .boundaries import boundary_observers, checkpoint
from .models import Operation
from .run import Run

__all__ = ["Handler", "boundary_observers", "checkpoint", "handler_for", "known_kinds", "register", "tell_ended"]

logger = logging.getLogger(__name__)

JSON = dict[str, Any]


class Handler(Protocol):
    """Carries out operations of one kind.

    ``run`` is called from the top after every crash; what its steps have done already is answered from the rows. It
    returns the operation's result, or raises ``OpsError`` (failed), ``UnknownOutcome`` (parked) or lets
    ``Cancelled`` through after it has put things back.

    A handler may name a ``result_template``, which shows its ``result`` to people; the job's page includes it. A method
    ``summary(result)`` says in a sentence and with links what a completed job has come to (``summaries``). With a
    method ``ended(operation)`` it hears of the end of each of its jobs, however it ends: completed, failed, cancelled
    before it began or on the way, given up by a person. It is called in the transaction that writes the end, in the
    job's scope, with the row as it will be; it writes its own rows and does nothing slow. An end written by SQL is
    not announced: whoever must know of it looks from time to time.

    With ``one_at_a_time`` two of its jobs for one environment never run beside each other.
    """

    kind: ClassVar[str]

    def run(self, run: Run) -> JSON: ...


_handlers: dict[str, Handler] = {}


def register(handler_class: type[Any]) -> type[Any]:
    """Class decorator: make a handler known by its ``kind``."""
    _handlers[handler_class.kind] = handler_class()
    return handler_class


def handler_for(kind: str) -> Handler | None:
    return _handlers.get(kind)


def kinds_one_at_a_time() -> list[str]:
    """Kinds of which one job runs at a time for an environment."""
    return [kind for kind, handler in _handlers.items() if getattr(handler, "one_at_a_time", False)]


def result_template(kind: str) -> str:
    """The template that shows what jobs of a kind came to, or ''."""
    return str(getattr(handler_for(kind), "result_template", ""))


def tell_ended(operation: Operation) -> None:
    """Let the handler of a job that has just ended know, inside the transaction of the end.

    A handler that fails must not keep its job from ending: its part is rolled back, and what looks for ends by SQL
    finds this one as well.
    """
    ended = getattr(handler_for(operation.kind), "ended", None)
    if ended is None:
        return
    try:
        with transaction.atomic():
            ended(operation)
    except Exception:
        logger.exception("the end of an operation could not be followed up", extra={"operation": str(operation.pk)})


def known_kinds() -> list[str]:
    return sorted(_handlers)
