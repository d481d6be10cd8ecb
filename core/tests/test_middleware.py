"""A fault or an absent database answers in the asker's own language."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from django.test import Client

from tenants.tokens import create_token
from tests.reading import flat


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], Client]:
    """A client whose every request fails on the way to its view, with nothing left to ask the database."""

    def client(error: Exception) -> Client:
        def fail(*_args: Any) -> None:
            raise error

        monkeypatch.setattr("tenants.middleware.ActorMiddleware.__call__", fail)
        return Client(raise_request_exception=False)

    return client


@pytest.mark.django_db
def test_a_forms_address_opened_as_a_page_says_what_to_do(client: Client, cast: Any) -> None:
    client.force_login(cast.owner)
    page = client.get(f"/t/acme/environments/{cast.tenant.pk}/test/")
    assert (page.status_code, page["Allow"]) == (405, "POST")
    assert "nothing was done" in flat(page.content) and "Go to the start" in flat(page.content)


@pytest.mark.django_db
def test_a_program_that_asks_in_the_wrong_way_is_told_so_in_json(client: Client, cast: Any) -> None:
    _, secret = create_token(user=cast.owner, name="t")
    headers = {"authorization": f"Bearer {secret}"}
    refused = client.put("/api/v1/tenants", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert refused["Allow"] == "GET"
    body = client.post("/api/v1/snapshots", "{environment_id: 1}", "application/json", headers=headers)
    assert body.status_code == 422 and body.json()["error"]["message"].startswith("The body is not JSON")


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
