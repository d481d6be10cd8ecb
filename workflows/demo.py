"""Executions in the demo: what ran is read once now, and by the console itself from then on."""

from __future__ import annotations

import contextlib

from core.demo import DemoChapter, DemoStage
from core.errors import OpsError

from .executions import collecting


def tell(stage: DemoStage) -> None:
    for environment in stage.environments.values():
        with contextlib.suppress(OpsError):
            collecting.collect(environment)


DEMO_CHAPTER = DemoChapter(name="executions", position=30, tell=tell)
