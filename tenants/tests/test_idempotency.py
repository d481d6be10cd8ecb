"""``Idempotency-Key``: carried out once, answered again, never across callers."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from core import clock
from tenants.idempotency import ABANDONED_AFTER, IdempotencyMiddleware, forget_expired, request_digest
from tenants.models import IdempotencyKey
from tenants.scope import platform_scope
from tenants.tokens import create_token, token_digest

pytestmark = pytest.mark.django_db


class View:
    """Counts its calls and answers with the count."""

    def __init__(self, status: int = 200, size: int = 0) -> None:
        self.calls, self.status, self.size = 0, status, size

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        body = json.dumps({"call": self.calls, "padding": "x" * self.size})
        return HttpResponse(body, status=self.status, content_type="application/json")


def post(secret: str, key: str, body: Any = None, path: str = "/api/v1/things") -> HttpRequest:
    return RequestFactory().post(
        path,
        json.dumps(body or {}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": key},
    )


@pytest.fixture
def secret(cast: Any) -> str:
    return create_token(user=cast.owner, name="t")[1]


def test_the_first_answer_is_given_again(secret: str) -> None:
    view = View(status=202)
    ask = IdempotencyMiddleware(view)
    first, second = ask(post(secret, "k1", {"a": 1})), ask(post(secret, "k1", {"a": 1}))
    assert view.calls == 1
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert "Idempotent-Replay" not in first and second["Idempotent-Replay"] == "true"
    assert ask(post(secret, "k2", {"a": 1})).content != first.content


@pytest.mark.parametrize("other", [{"body": {"a": 2}}, {"path": "/api/v1/others"}, {"path": "/api/v1/things?x=1"}])
def test_another_request_under_the_same_key_is_refused(secret: str, other: dict[str, Any]) -> None:
    view = View()
    ask = IdempotencyMiddleware(view)
    ask(post(secret, "k", {"a": 1}))
    refused = ask(post(secret, "k", **{"body": {"a": 1}, **other}))
    assert refused.status_code == 409 and json.loads(refused.content)["error"]["code"] == "IDEMPOTENCY_MISMATCH"
    assert view.calls == 1


def test_a_key_belongs_to_its_token(cast: Any, secret: str) -> None:
    view = View()
    ask = IdempotencyMiddleware(view)
    ask(post(secret, "k"))
    other = ask(post(create_token(user=cast.stranger, name="t")[1], "k"))
    assert view.calls == 2 and "Idempotent-Replay" not in other


def test_two_at_once_run_once(secret: str) -> None:
    """The second comes while the first is still inside its view."""
    seen: list[HttpResponse] = []

    def view(request: HttpRequest) -> HttpResponse:
        if not seen:
            seen.append(ask(post(secret, "k")))
        return HttpResponse("done")

    ask = IdempotencyMiddleware(view)
    assert ask(post(secret, "k")).content == b"done"
    assert seen[0].status_code == 409 and b"IDEMPOTENCY_IN_PROGRESS" in seen[0].content and seen[0]["Retry-After"]


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_what_may_pass_is_not_kept(secret: str, status: int) -> None:
    view = View(status=status)
    ask = IdempotencyMiddleware(view)
    ask(post(secret, "k"))
    ask(post(secret, "k"))
    assert view.calls == 2


def test_a_crash_lets_go_of_the_key(secret: str) -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        IdempotencyMiddleware(broken)(post(secret, "k"))
    assert IdempotencyMiddleware(View())(post(secret, "k")).status_code == 200


def test_a_dead_processs_claim_is_given_up_after_a_while(secret: str) -> None:
    request = post(secret, "k")
    scope_key = hashlib.sha256(f"{token_digest(secret)}\0k".encode()).hexdigest()
    claimed = {"request_digest": request_digest(request), "expires_at": clock.now() + timedelta(hours=1)}
    with platform_scope():
        IdempotencyKey.objects.create(pk=scope_key, claimed_at=clock.now(), **claimed)
    assert IdempotencyMiddleware(View())(post(secret, "k")).status_code == 409
    with platform_scope():
        IdempotencyKey.objects.update(claimed_at=clock.now() - ABANDONED_AFTER)
    assert IdempotencyMiddleware(View())(post(secret, "k")).status_code == 200


def test_a_large_answer_is_not_kept_but_its_work_is_not_repeated(secret: str) -> None:
    view = View(size=300_000)
    ask = IdempotencyMiddleware(view)
    ask(post(secret, "k"))
    again = ask(post(secret, "k"))
    assert again.status_code == 409 and b"IDEMPOTENCY_ANSWER_NOT_KEPT" in again.content and view.calls == 1


def test_after_a_day_the_key_is_free(secret: str) -> None:
    view = View()
    ask = IdempotencyMiddleware(view)
    ask(post(secret, "k"))
    with platform_scope():
        IdempotencyKey.objects.update(expires_at=clock.now())
    ask(post(secret, "k"))
    assert view.calls == 2
    with platform_scope():
        IdempotencyKey.objects.update(expires_at=clock.now())
    assert forget_expired() == 1


def test_a_bad_key_or_token_is_refused_before_anything_is_kept(secret: str) -> None:
    view = View()
    ask = IdempotencyMiddleware(view)
    assert ask(post(secret, "a b")).status_code == 422
    assert ask(post(secret, "x" * 121)).status_code == 422
    assert ask(post("opc_wrong", "k")).status_code == 401
    assert view.calls == 0
    with platform_scope():
        assert not IdempotencyKey.objects.exists()


def test_the_api_itself_replays(cast: Any, secret: str) -> None:
    from operations import services

    operation = services.start(
        tenant_id=cast.tenant.pk, kind="test.any", title="Job", params={}, requested_by=cast.owner
    )
    headers = {"authorization": f"Bearer {secret}", "idempotency-key": "stop-1"}
    client = Client()
    first = client.post(f"/api/v1/operations/{operation.pk}/cancel", headers=headers)
    second = client.post(f"/api/v1/operations/{operation.pk}/cancel", headers=headers)
    assert first.status_code == 200 and second.content == first.content and second["Idempotent-Replay"] == "true"
