"""The trail's pages: each way of searching, and a search taken out as a file."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from audit.export import count_matching
from audit.models import AuditLog
from audit.ocsf import events_since
from audit.selectors import TrailFilter, list_trail
from audit.services import record_event
from core import clock, context
from core.downloads import Download
from tenants.scope import platform_scope, tenant_scope

from .settling import settled
from .test_working import note, signed_in

pytestmark = pytest.mark.django_db
HERE, EVERYWHERE = "/t/acme/trail/", "/platform/trail/"


def shown(client: Client, url: str, **query: str) -> int:
    """How many entries the page lists."""
    answer = client.get(url, query | {"view": "entries"})
    assert answer.status_code == 200, answer.content.decode()[:1500]
    return len(answer.context["rows"])


@pytest.fixture
def noted(cast: Any) -> dict[str, str]:
    """Three things that support did as the operator, among others; what they are found by."""
    said = {name: str(uuid.uuid4()) for name in ("session", "operation", "request")}
    thing = uuid.uuid4()
    with context.acting(
        actor_id=cast.support.pk, acting_as_id=cast.operator.pk, session_id=uuid.UUID(said["session"]),
        operation_id=uuid.UUID(said["operation"]), request_id=said["request"], source="api",
    ), tenant_scope(cast.tenant.pk):  # fmt: skip
        for _ in range(3):
            record_event(action="NOTED", resource_type="things", resource_id=thing, tenant_id=cast.tenant.pk)
    note(cast.tenant, 2)
    note(cast.other_tenant, 4)
    return {**said, "resource_id": str(thing), "acted_as": "operator", "person": cast.support.email}


@pytest.mark.parametrize("code", ["CREATE", "promotion.approve"])
def test_every_action_that_the_form_offers_is_found(cast: Any, code: str) -> None:
    with context.acting(actor_id=cast.owner.pk, source="web"), tenant_scope(cast.tenant.pk):
        record_event(action=code, resource_type="offered", tenant_id=cast.tenant.pk)
    client = signed_in(cast.owner)
    page = client.get(HERE).content.decode()
    assert f'<option value="{code}"' in page
    assert shown(client, HERE, action=code, resource_type="offered") == 1


def test_each_field_of_the_form_finds(cast: Any, noted: dict[str, str]) -> None:
    for user, url in ((cast.owner, HERE), (cast.officer, EVERYWHERE)):
        client = signed_in(user)
        page = client.get(url).content.decode()
        for name, value in noted.items():
            assert f'name="{name}"' in page, f"{url} has no field {name}"
            assert shown(client, url, action="noted", **{name: value}) == 3, (url, name)
            kept = client.get(url, {name: value}).content.decode()
            assert f'value="{value}"' in kept, f"{name} is not kept in the form"
        assert shown(client, url, action="noted", resource_type="things", source="api") == 3
        assert client.get(url, {"session": "no-id"}).status_code == 422


def test_a_time_of_day_narrows_the_day(cast: Any) -> None:
    note(cast.tenant, 1)
    owner, now = signed_in(cast.owner), clock.now()
    before, after = now - timedelta(minutes=5), now + timedelta(minutes=5)
    day = {"since": f"{before:%Y-%m-%d}", "until": f"{after:%Y-%m-%d}", "action": "NOTED"}
    assert shown(owner, HERE, **day) == 1
    assert shown(owner, HERE, **day, since_at=f"{before:%H:%M}", until_at=f"{after:%H:%M:%S}") == 1
    assert shown(owner, HERE, **day, until_at=f"{before:%H:%M:%S}") == 0
    assert shown(owner, HERE, **(day | {"since": f"{after:%Y-%m-%d}"}), since_at=f"{after:%H:%M:%S}") == 0
    assert owner.get(HERE, day | {"since_at": "nonsense"}).status_code == 422


def test_the_platform_narrows_to_a_tenant_and_a_tenant_cannot_reach_out(cast: Any, noted: dict[str, str]) -> None:
    officer, owner = signed_in(cast.officer), signed_in(cast.owner)
    for told in ("umbrella", "Umbrella Tr", str(cast.other_tenant.pk)):
        assert shown(officer, EVERYWHERE, action="NOTED", tenant=told) == 4
    assert shown(officer, EVERYWHERE, action="NOTED") == 9
    assert shown(officer, EVERYWHERE, action="NOTED", tenant="nobody") == 0
    assert shown(owner, HERE, action="NOTED", tenant="umbrella") == 5, "a tenant's page knows no other tenant"
    assert b'name="tenant"' not in owner.get(HERE).content


def test_what_people_did_leaves_out_what_the_console_does_by_itself(cast: Any) -> None:
    somebody = cast.operator.pk
    for name, source, actor, kind in (
        ("by somebody", "web", somebody, "things"), ("by hand", "sql", None, "background_jobs"),
        ("in a job", "task", somebody, "things"), ("by itself", "system", None, "things"),
        ("a job's lease", "task", somebody, "background_jobs"),
    ):  # fmt: skip
        with context.acting(actor_id=actor, source=source), tenant_scope(cast.tenant.pk):
            record_event(
                action="UPDATE", resource_type=kind, tenant_id=cast.tenant.pk, details={"new_value": {"name": name}}
            )

    def names(**query: str) -> set[str]:
        with tenant_scope(cast.tenant.pk):
            rows = list_trail(TrailFilter.from_query({"action": "UPDATE", **query})).rows
        return {row.details.get("new_value", {}).get("name", "") for row in rows}

    people = {"by somebody", "by hand", "in a job"}
    assert names() >= people | {"by itself", "a job's lease"}
    assert names(by="nonsense") == names()
    assert names(by="people") & (names() - {""}) == people
    owner = signed_in(cast.owner)
    assert b'name="by" value="people"' in owner.get(HERE, {"by": "people"}).content
    assert b"people, not the console itself" in owner.get(HERE + "export/", {"by": "people"}).content


def test_a_page_that_support_saw_or_was_refused_is_named(cast: Any) -> None:
    for action in ("READ", "REFUSED"):
        with context.acting(actor_id=cast.support.pk), tenant_scope(cast.tenant.pk):
            record_event(
                action=action, resource_type="requests", tenant_id=cast.tenant.pk,
                details={"method": "GET", "path": "/t/acme/tokens/"},
            )  # fmt: skip
    answer = signed_in(cast.owner).get(HERE, {"resource_type": "requests", "view": "entries"})
    assert answer.content.count(b"GET /t/acme/tokens/") == 2
    assert {row["row"].action: row["state"] for row in answer.context["rows"]} == {"READ": "info", "REFUSED": "failed"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "ocsf"])
def test_what_was_searched_goes_out_as_a_file(cast: Any, noted: dict[str, str], kind: str) -> None:
    owner = signed_in(cast.owner)
    asked = {"action": "NOTED", "session": noted["session"]}
    page = owner.get(HERE + "export/", asked)
    assert page.context["count"] == 3 and b"Support session" in page.content
    answer = owner.post(HERE + "export/", asked | {"format": kind})
    body = b"".join(answer.streaming_content)
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    assert 'attachment; filename="trail-acme-' in answer["Content-Disposition"]
    assert answer["X-Content-SHA256"] == hashlib.sha256(body).hexdigest() and answer["X-Row-Count"] == "3"
    assert body.count(b"\n") == (4 if kind == "csv" else 3)
    with tenant_scope(cast.tenant.pk):
        event = AuditLog.objects.get(action="TRAIL_EXPORTED")
    assert event.actor_user_id == cast.owner.pk and event.details["parameters"] == asked
    assert (event.details["rows"], event.details["sha256"]) == (3, answer["X-Content-SHA256"])
    assert answer["X-Content-SHA256"][:8] in owner.get(HERE + "export/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_exported_event_is_the_one_that_the_feed_has(live_cast: Any) -> None:
    with context.acting(actor_id=live_cast.owner.pk, source="web", ip_address="192.0.2.5"):
        note(live_cast.tenant, 2)
    settled()
    with tenant_scope(live_cast.tenant.pk):
        feed = [e for e in events_since(limit=1000).events if e["activity_name"] == "NOTED"]
    answer = signed_in(live_cast.owner).post(HERE + "export/", {"format": "ocsf", "action": "NOTED"})
    assert [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()] == feed


def test_the_platforms_export_holds_the_tenant_that_was_asked_for(cast: Any, noted: dict[str, str]) -> None:
    officer = signed_in(cast.officer)
    asked = {"action": "NOTED", "tenant": "umbrella"}
    answer = officer.post(EVERYWHERE + "export/", asked | {"format": "jsonl"})
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert {row["tenant_id"] for row in rows} == {str(cast.other_tenant.pk)} and len(rows) == 4
    with platform_scope():
        assert AuditLog.objects.get(action="TRAIL_EXPORTED").tenant_id is None
    assert b"umbrella" in officer.get(EVERYWHERE + "export/", asked).content


def test_who_may_export(cast: Any, noted: dict[str, str]) -> None:
    expected = {"owner": 200, "approver": 200, "officer": 200, "admin": 200, "viewer": 403, "operator": 403}
    for name, status in {**expected, "stranger": 404, "support": 404}.items():
        client = signed_in(getattr(cast, name))
        found = (client.get(HERE + "export/").status_code, client.post(HERE + "export/", {"format": "csv"}).status_code)
        assert found == (status, status), name
    for name in ("owner", "viewer", "support"):
        assert signed_in(getattr(cast, name)).post(EVERYWHERE + "export/", {"format": "csv"}).status_code == 403
    with platform_scope():
        assert AuditLog.objects.filter(action="TRAIL_EXPORTED").count() == 4


def test_an_export_that_cannot_be_made_says_why(cast: Any) -> None:
    owner = signed_in(cast.owner)
    page = owner.get(HERE + "export/", {"session": "x"})
    assert page.status_code == 422 and b"Change the search" in page.content
    assert owner.post(HERE + "export/", {"format": "xml"}).status_code == 422
    assert owner.post(HERE + "export/", {"format": "csv", "session": "x"}).status_code == 422
    with tenant_scope(cast.tenant.pk):
        assert not AuditLog.objects.filter(action="TRAIL_EXPORTED").exists()


def test_counting_beforehand_is_bounded(cast: Any) -> None:
    note(cast.tenant, 5)
    with tenant_scope(cast.tenant.pk):
        assert count_matching(TrailFilter(action="NOTED"), most=3) == 4
        assert count_matching(TrailFilter(action="NOTED"), most=5) == 5


def test_the_file_leaves_piece_by_piece() -> None:
    """Under ASGI, Django would read a whole file first; ours is read as it goes."""
    held = io.BytesIO(b"x" * 300_000)

    async def taken() -> list[tuple[int, int]]:
        return [(len(piece), held.tell()) async for piece in Download(held)]

    pieces = asyncio.run(taken())
    assert pieces[0] == (1 << 16, 1 << 16) and sum(size for size, _ in pieces) == 300_000
