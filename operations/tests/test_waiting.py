"""Calls that wait and pages that follow: few at a time, and nothing held meanwhile."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from core import context
from operations import events, services, waiting
from operations.errors import TooManyStreams
from operations.models import Operation
from tenants.scope import tenant_scope


@pytest.fixture
def pool_of_one() -> Iterator[None]:
    """The web's pool, with a single connection for everybody."""
    options = connections.settings["default"]["OPTIONS"]
    before, age = dict(options), connections.settings["default"]["CONN_MAX_AGE"]
    connections.settings["default"]["CONN_MAX_AGE"] = 0
    options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 5}
    yield
    with ThreadPoolExecutor(1) as fresh:
        fresh.submit(lambda: connection.close_pool()).result()
    options.clear()
    options.update(before)
    connections.settings["default"]["CONN_MAX_AGE"] = age


def running(cast: Any) -> Operation:
    with tenant_scope(cast.tenant.pk):
        return Operation.objects.create(tenant=cast.tenant, kind="test.wait", title="Slow", status="RUNNING")


def end(cast: Any, operation: Operation) -> None:
    with context.acting(source="system"), tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(status="COMPLETED")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_who_waits_holds_no_connection(live_cast: Any, pool_of_one: None) -> None:
    """Twelve that wait share one connection with the one that ends the job."""
    operation = running(live_cast)

    def wait(_number: int) -> str:
        try:
            with context.acting(actor_id=uuid.uuid4()):
                return waiting.wait_for(operation, 30).status
        finally:
            connection.close()

    with ThreadPoolExecutor(13) as callers:
        waiters = [callers.submit(wait, number) for number in range(12)]
        callers.submit(end, live_cast, operation).result(timeout=20)
        assert {waiter.result(timeout=20) for waiter in waiters} == {"COMPLETED"}


@pytest.mark.django_db
def test_one_too_many_is_answered_at_once(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_OF_PERSON", 0)
    monkeypatch.setattr(time, "sleep", lambda _seconds: pytest.fail("it waits"))
    assert waiting.wait_for(running(cast), 30).status == "RUNNING"


@pytest.mark.django_db
def test_nothing_is_counted_once_nobody_waits(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = running(cast)

    def fail(**_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(services, "get_operation", fail)
    with pytest.raises(RuntimeError):
        waiting.wait_for(operation, 30)
    assert len(waiting._waiting) == 0


def test_streams_are_few_for_one_listener_and_free_again_when_closed() -> None:
    listener, before = uuid.uuid4(), len(events._streams)
    opened = [events.stream(list, lambda: True, listener_id=listener) for _ in range(events.MOST_OF_PERSON)]
    with pytest.raises(TooManyStreams):
        events.stream(list, lambda: True, listener_id=listener)
    events.stream(list, lambda: True, listener_id=uuid.uuid4()).close()
    opened[0].close()
    opened[0].close()
    opened[0] = events.stream(list, lambda: True, listener_id=listener)
    with pytest.raises(TooManyStreams):
        events.stream(list, lambda: True, listener_id=listener)
    for stream in opened:
        stream.close()
    assert len(events._streams) == before


def test_streams_of_nobody_are_few_for_one_address() -> None:
    opened: list[Any] = []
    before = len(events._streams)

    def open_one() -> None:
        with context.acting(ip_address="192.0.2.9"):
            opened.append(events.stream(list, lambda: True, listener_id=None))

    for _ in range(events.MOST_OF_ADDRESS):
        open_one()
    with pytest.raises(TooManyStreams):
        open_one()
    for stream in opened:
        stream.close()
    assert len(events._streams) == before
