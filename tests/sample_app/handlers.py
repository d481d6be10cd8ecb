"""Filling a bottle, as a job."""

from __future__ import annotations

from typing import Any, ClassVar

from operations.engine import Run
from operations.handlers import register


@register
class Fill:
    kind: ClassVar[str] = "bottles.fill"

    def run(self, run: Run) -> dict[str, Any]:
        return dict(run.step("fill", "Fill it", lambda: {"filled": True}))
