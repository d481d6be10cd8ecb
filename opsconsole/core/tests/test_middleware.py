"""A fault or an absent database answers in the asker's own language."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from django.test import Client


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], Client]:
    """A client whose every request fails on the way to its view, with nothing left to ask the database."""

    def client(error: Exception) -> Client:
        def fail(*_args: Any) -> None:
            raise error

        monkeypatch.setattr("tenants.middleware.ActorMiddleware.__call__", fail)
        return Client(raise_request_exception=False)

    return client


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("couldn't get a connection after 10.00 sec"), 503, "UNAVAILABLE"),
        (InterfaceError("connection already closed"), 503, "UNAVAILABLE"),
        (DatabaseError("unforeseen"), 500, "FAULT"),
        (KeyError("unforeseen"), 500, "FAULT"),
    ],
)
def test_page_toast_and_api_each_name_it(
    failing: Callable[[Exception], Client], error: Exception, status: int, code: str
) -> None:
    client = failing(error)
    page = client.get("/account/login/")
    assert page.status_code == status
    assert code in page.content.decode()
    assert "unforeseen" not in page.content.decode()
    api = client.get("/api/v1/snapshots")
    assert (api.status_code, api.json()["error"]["code"]) == (status, code)
    toast = client.get("/", headers={"HX-Request": "true"})
    assert toast.status_code == status
    assert json.loads(toast["HX-Trigger"])["toast"]["code"] == code
