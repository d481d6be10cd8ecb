"""News for the layers above: what is registered here is told of every capture."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operations.engine import Run
    from workflows.models import Environment

    from .models import Snapshot

Captured = Callable[["Run | None", "Environment", "Snapshot"], Any]

_captured: dict[str, Captured] = {}


def on_captured(callback: Captured) -> Captured:
    """Register (or decorate) a callback ``(run_or_none, environment, snapshot)``.

    It is called after each capture, outside any scope, in a step of its own that may be repeated after a crash. What
    it returns must be JSON-able. Its failure is recorded on the step and does not spoil the capture.
    """
    _captured[f"{callback.__module__}.{callback.__qualname__}"] = callback
    return callback


def captured_callbacks() -> list[tuple[str, Captured]]:
    """Names and callbacks, in the order of their names."""
    return sorted(_captured.items())


@dataclass(frozen=True, slots=True)
class Rehashed:
    """A place whose hashes are of a new normalisation now: what is approved (git) and what was seen (env), and the
    drafts beside both."""

    map_id: uuid.UUID
    key: str
    old_git: str | None
    new_git: str | None
    old_env: str | None
    new_env: str | None
    old_git_draft: str | None = None
    new_git_draft: str | None = None
    old_env_draft: str | None = None
    new_env_draft: str | None = None


RehashedCallback = Callable[["Environment", Sequence[Rehashed]], None]

_rehashed: dict[str, RehashedCallback] = {}


def on_rehashed(callback: RehashedCallback) -> RehashedCallback:
    """Register (or decorate) a callback ``(environment, places)``.

    It is called inside the very transaction that changes the hashes, so that what holds the old ones changes with
    them. It must not reach outside the database; its failure keeps the hashes as they were.
    """
    _rehashed[f"{callback.__module__}.{callback.__qualname__}"] = callback
    return callback


def rehashed_callbacks() -> list[tuple[str, RehashedCallback]]:
    """Names and callbacks, in the order of their names."""
    return sorted(_rehashed.items())
