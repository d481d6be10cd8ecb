"""The runbook's codes of support sessions mean what its appendix says."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


def call(user: Any, method: str, path: str, body: str = "{}") -> tuple[int, str]:
    _, secret = create_token(user=user, name="cli")
    headers = {"authorization": f"Bearer {secret}"}
    answer = Client().generic(method, f"/api/v1/{path}", body, "application/json", headers=headers)
    told = answer.json()["error"]
    assert told["recovery"]
    return answer.status_code, told["code"]


def test_a_session_that_is_not_there(cast: Any) -> None:
    """IMP_003, whether it has ended, never was, or is somebody else's."""
    for person in (cast.admin, cast.support, cast.owner):
        assert call(person, "GET", f"platform/impersonate/sessions/{uuid.uuid4()}") == (404, "IMP_003")
    stop = f'{{"session_id": "{uuid.uuid4()}", "force": true, "reason": "gone"}}'
    assert call(cast.admin, "POST", "platform/impersonate/stop", stop) == (404, "IMP_003")
    assert call(cast.support, "POST", "platform/impersonate/extend") == (404, "IMP_003")


def test_a_trail_that_is_not_theirs(cast: Any) -> None:
    """IMP_004, of the platform's trail and of a tenant's."""
    assert call(cast.owner, "GET", "audit-logs") == (403, "IMP_004")
    assert call(cast.owner, "GET", "audit/events") == (403, "IMP_004")
    assert call(cast.operator, "GET", "audit-logs?tenant=acme") == (403, "IMP_004")
    assert call(cast.stranger, "GET", "audit-logs?tenant=acme") == (404, "NOT_FOUND"), "it cannot know of the tenant"


def test_who_is_not_support_and_who_is_not_proven(cast: Any) -> None:
    body = f'{{"target_user_id": "{cast.operator.pk}", "tenant": "acme", "reason": "Labels come out twice"}}'
    assert call(cast.owner, "POST", "platform/impersonate", body) == (403, "IMP_012")
    assert call(cast.support, "POST", "platform/impersonate", body) == (403, "IMP_013")
