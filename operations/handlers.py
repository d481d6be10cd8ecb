"""What a kind of long work is made of: a class with a ``run`` that is safe to begin again from the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from core.checkpoints import boundary_observers, checkpoint

if TYPE_CHECKING:
    from .engine import Run

__all__ = ["Handler", "boundary_observers", "checkpoint", "handler_for", "known_kinds", "register", "result_template"]

JSON = dict[str, Any]


class Handler(Protocol):
    """Carries out operations of one kind.

    ``run`` is called from the top after every crash; what its steps have done already is answered from the rows. It
    returns the operation's result, or raises ``OpsError`` (failed), ``UnknownOutcome`` (parked) or lets
    ``Cancelled`` through after it has put things back.

    A handler may name a ``result_template``, which shows its ``result`` to people; the job's page includes it.
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


def result_template(kind: str) -> str:
    """The template that shows what jobs of a kind came to, or ''."""
    return str(getattr(handler_for(kind), "result_template", ""))


def known_kinds() -> list[str]:
    return sorted(_handlers)
