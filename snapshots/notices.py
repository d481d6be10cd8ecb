"""What apps above must act upon: in a step of the job that captured, or in the transaction that changes hashes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from operations.engine import Run
    from workflows.models import Environment

    from .models import Snapshot


@dataclass(frozen=True, slots=True)
class Captured:
    """An environment was captured. For step handlers: called after each capture, outside any scope.

    What a handler returns is kept on its step; its failure is recorded there and does not spoil the capture.
    """

    run: Run
    environment: Environment
    snapshot: Snapshot


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


@dataclass(frozen=True, slots=True)
class EnvironmentRehashed:
    """Hashes of an environment are of a new normalisation. For in-transaction handlers: what holds the old ones changes
    with them, and a failure keeps them all as they were."""

    environment: Environment
    rehashed: Sequence[Rehashed]
