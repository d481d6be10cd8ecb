"""What apps above act upon in a step of the job that tests a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from operations.engine import Run

    from .models import Environment


@dataclass(frozen=True, slots=True)
class Connected:
    """A new environment answers for the first time, and whoever added it wants it captured. Outside any scope."""

    run: Run
    environment: Environment
