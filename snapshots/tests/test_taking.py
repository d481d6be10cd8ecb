"""A whole environment leaves by the page and by the API under one rule: on record, and never in a support session."""

from __future__ import annotations

from typing import Any

from django.test import Client

from audit.models import AuditLog
from core.support_rules import Rule, declared
from impersonation import services
from impersonation.tests.test_api import enter
from snapshots import rest, taking, views
from tenants.scope import tenant_scope
from tenants.tokens import create_token

from .conftest import workflow


def test_page_and_api_declare_the_same() -> None:
    assert declared(views.snapshot_download) is taking.PAGE_RULES
    rules = declared(rest.get_snapshot)
    assert rules is taking.API_RULES
    for said in ("true", "1", "True", "on", "yes", "anything"):
        assert rules.rule("GET", {"contents": said}) is Rule.DENIED
    for said in ("", "0", "false", "No"):
        assert rules.rule("GET", {"contents": said}) is Rule.READ


def test_the_api_is_on_record_and_shut_in_a_session(capture: Any, n8n: Any, live_cast: Any) -> None:
    n8n.seed([workflow("Orders")])
    path = f"snapshots/{capture().pk}"
    _, secret = create_token(user=live_cast.viewer, name="x")
    headers = {"Authorization": f"Bearer {secret}"}
    assert "content" not in Client().get(f"/api/v1/{path}", headers=headers).json()["snapshot"]["workflows"][0]
    assert recorded(live_cast) == []
    whole = Client().get(f"/api/v1/{path}?contents=true", headers=headers).json()["snapshot"]["workflows"]
    assert whole[0]["content"]["nodes"]
    ((actor, details),) = recorded(live_cast)
    assert actor == live_cast.viewer.pk and details["bytes"] > 0 and len(details["sha256"]) == 64
    for write in (False, True):
        call, session = enter(live_cast, write=write)
        assert call("GET", path).status_code == 200
        assert call("GET", f"{path}?contents=true").status_code == 403
        services.end_session(session_id=session.pk, by=live_cast.admin, reason="over")
    assert len(recorded(live_cast)) == 1


def recorded(cast: Any) -> list[tuple[Any, Any]]:
    with tenant_scope(cast.tenant.pk):
        rows = AuditLog.objects.filter(action="SNAPSHOT_DOWNLOADED")
        return [(row.actor_user_id, row.details) for row in rows]
