"""Notices: facts that must be acted upon in the very transaction, or in the very job, that they come from."""

from __future__ import annotations

from typing import Any

from .events import StepHandler
from .registry import registry


def notify(notice: object) -> dict[str, Any]:
    """Call every in-transaction handler of the notice, lower apps first; what each answered, by its name.

    The first failure goes through, and with it the caller's transaction fails.
    """
    return {handler.name: handler.handle(notice) for handler in registry.in_transaction_handlers(type(notice))}


def step_handlers(of: type[Any]) -> list[StepHandler]:
    """Who has a step in jobs that have such a notice, in the order of their names."""
    return registry.step_handlers(of)
