"""Sealing lives in a process of its own: it ends when told, and a round that fails is not the last."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from audit import probes, sealer
from audit.models import Seal
from core import clock
from tenants.scope import platform_scope

from .settling import settled
from .test_sealing import seal_all, write

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_batches")]


def test_it_goes_on_after_a_round_that_failed_and_ends_when_told(
    live_cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []

    def one_round() -> int:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OperationalError("the database restarts")
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(sealer, "seal_once", one_round)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        sealer.seal_for_ever(every_seconds=0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert rounds == [0, 1, 2]


def test_health_says_how_many_entries_wait_and_since_when(live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(3)
    seal_all()
    assert probes.sealed()["status"] == "ok"
    write(4)
    settled()
    found = probes.sealed()
    assert (found["status"], found["waiting_entries"]) == ("ok", 4) and found["waiting_since"] is not None
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=11))
    assert probes.sealed()["status"] == "failed"
    assert sealer.seal_once() == 4
    assert probes.sealed()["waiting_entries"] == 0
    with platform_scope():
        assert Seal.objects.exists()
