"""Two people who press at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from conftest import owner_connection
from core import context
from tests.waiting import until


def pressed_twice(
    monkeypatch: pytest.MonkeyPatch, module: Any, looks: str, press: Callable[[], Any]
) -> tuple[Any, Any]:
    """What ``press`` gives each of two who press at once: neither goes on before both have looked, where they can.

    ``looks`` is the function of ``module`` by which ``press`` looks for what is there already. The second one has
    either looked as well when the first one goes on, or waits for a lock that the first one holds.
    """
    real, looking, found = getattr(module, looks), [], []

    def press_too() -> None:
        context.set_current(context.ActionContext(source="system"))
        found.append(press())
        connections.close_all()

    second = threading.Thread(target=press_too)

    def is_there() -> bool:
        with owner_connection() as owner:
            row = owner.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return len(looking) > 1 or bool(row and row[0])

    def look(*given: Any, **named: Any) -> Any:
        answer = real(*given, **named)
        looking.append(answer)
        if len(looking) == 1:
            second.start()
            until("the second press", is_there)
        return answer

    monkeypatch.setattr(module, looks, look)
    first = press()
    second.join()
    return first, found[0]
