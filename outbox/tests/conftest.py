from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from core import clock
from core.checkpoints import boundary_observers
from core.registry import registry
from outbox import publishing
from outbox.models import ConsumerCursor, Delay
from tenants.scope import platform_scope

from .world import APP, World, effects_table, install


@pytest.fixture(scope="module")
def _effects(django_db_setup: None) -> Iterator[None]:
    with effects_table():
        yield


@pytest.fixture
def world(live_cast: Any, _effects: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world in the registry; nobody is woken."""
    monkeypatch.setattr(publishing.current_app, "send_task", lambda *_args, **_kwargs: None)
    made = World()
    install(made)
    yield made
    boundary_observers.clear()
    del registry.consoles[APP]


@pytest.fixture
def later() -> Any:
    """Let everything that waits for its time be due, and every batch that was begun be abandoned."""

    def passes() -> None:
        past = clock.now() - timedelta(hours=1)
        with platform_scope():
            Delay.objects.update(next_try_at=past)
            ConsumerCursor.objects.update(claimed_at=past)

    return passes
