"""Finding entries and taking them out: the session's entries, paging by time, exports, events for a SIEM."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from audit import selectors
from audit.export import export_trail
from audit.models import AuditLog, LogEntry
from audit.ocsf import events_since
from audit.sealing import seal_trail
from audit.selectors import TrailFilter
from audit.services import Event, record_event, record_events
from core import context
from core.errors import Invalid
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

from .settling import settled

pytestmark = pytest.mark.django_db
AWKWARD = 'Said "yes",\nthen; \\n and ünï\x7f'


def note(tenant: Any, count: int = 1, **fields: Any) -> None:
    with tenant_scope(tenant.pk):
        record_events([Event("NOTED", "things", tenant_id=tenant.pk, details={"n": n, **fields}) for n in range(count)])


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_sessions_entries_page_by_page(cast: Any) -> None:
    session = uuid.uuid4()
    with context.acting(session_id=session, actor_id=cast.support.pk, acting_as_id=cast.operator.pk):
        note(cast.tenant, 7)
    note(cast.tenant, 3)
    seen, cursor = [], ""
    with tenant_scope(cast.tenant.pk):
        while True:
            page = selectors.entries_of_session(session, cursor=cursor, limit=3)
            seen += [row.details["n"] for row in page.rows]
            cursor = page.next_cursor
            if not cursor:
                break
        found = selectors.list_trail(TrailFilter(acted_as=cast.operator.email))
        assert len(found.rows) == 7
    assert seen == list(reversed(range(7)))
    with tenant_scope(cast.other_tenant.pk):
        assert selectors.entries_of_session(session).rows == []


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_holds_every_entry_as_it_is(cast: Any, kind: str) -> None:
    note(cast.tenant, 5, text=AWKWARD)
    note(cast.other_tenant, 2)
    out = io.BytesIO()
    with tenant_scope(cast.tenant.pk):
        expected = list(AuditLog.objects.filter(resource_type="things").order_by("created_at", "id"))
        manifest = export_trail(
            TrailFilter(resource_type="things"), kind=kind, write=out.write, tenant_id=cast.tenant.pk
        )
        event = AuditLog.objects.get(action="TRAIL_EXPORTED")
    text = out.getvalue().decode()
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        details = [json.loads(row["details"]) for row in rows]
    else:
        rows = [json.loads(line) for line in text.splitlines()]
        details = [row["details"] for row in rows]
    assert [int(row["id"]) for row in rows] == [row.pk for row in expected]
    assert details == [row.details for row in expected] and details[0]["text"] == AWKWARD
    assert (manifest.rows, manifest.bytes) == (5, len(out.getvalue()))
    assert manifest.sha256 == hashlib.sha256(out.getvalue()).hexdigest()
    assert event.details["sha256"] == manifest.sha256 and event.tenant_id == cast.tenant.pk
    with tenant_scope(cast.tenant.pk), pytest.raises(Invalid):
        export_trail(TrailFilter(), kind="xml", write=out.write)


def test_the_command_writes_file_and_manifest(cast: Any, tmp_path: Path) -> None:
    note(cast.tenant, 4)
    target = tmp_path / "trail.csv"
    call_command("trail_export", "--format", "csv", "--out", str(target), "--tenant", "acme", "--action", "NOTED")
    manifest = json.loads((tmp_path / "trail.csv.manifest.json").read_text())
    assert manifest["rows"] == 4 and manifest["parameters"] == {"action": "NOTED"}
    assert manifest["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()


@pytest.mark.django_db(transaction=True)
def test_events_for_a_siem_lose_nothing_that_commits_late(live_cast: Any) -> None:
    def go_on(cursor: str) -> tuple[set[str], str]:
        found: set[str] = set()
        while True:
            with platform_scope():
                page = events_since(cursor, limit=4)
            if not page.events:
                return found, page.cursor
            found |= {event["metadata"]["uid"] for event in page.events}
            cursor = page.cursor

    settled()
    first, cursor = go_on("")
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as late:
        late.execute("UPDATE users SET name = 'Late' WHERE id = %s", [live_cast.viewer.pk])
        note(live_cast.tenant, 2)
        meanwhile, cursor = go_on(cursor)
        assert meanwhile == set(), "a later entry waits for the one that is not committed yet"
    settled()
    rest, _ = go_on(cursor)
    with platform_scope():
        everything = {f"{e.epoch}-{e.transaction_id}-{e.pk}" for e in LogEntry.objects.all()}
    assert first | rest == everything and not first & rest and len(rest) == 3


@pytest.mark.django_db(transaction=True)
def test_events_over_rest(live_cast: Any) -> None:
    with context.acting(source="web", actor_id=live_cast.owner.pk, ip_address="192.0.2.5"):
        note(live_cast.tenant, 1)
        with tenant_scope(live_cast.tenant.pk):
            record_event(action="IMPERSONATION_BLOCKED", resource_type="users", tenant_id=live_cast.tenant.pk)

    def ask(user: Any, query: str) -> Any:
        _, secret = create_token(user=user, tenant=None, name="t")
        return Client().get(f"/api/v1/audit/events?{query}", headers={"authorization": f"Bearer {secret}"})

    settled()
    assert ask(live_cast.stranger, "tenant=acme").status_code == 404
    assert ask(live_cast.viewer, "tenant=acme").status_code == 403
    assert ask(live_cast.owner, "").status_code == 403
    assert ask(live_cast.owner, "tenant=acme&cursor=x").status_code == 422
    answer = ask(live_cast.owner, "tenant=acme&limit=200").json()
    assert {event["metadata"]["tenant_uid"] for event in answer["events"]} == {str(live_cast.tenant.pk)}
    by_action = {event["activity_name"]: event for event in answer["events"]}
    noted, blocked = by_action["NOTED"], by_action["IMPERSONATION_BLOCKED"]
    assert noted["actor"]["user"]["uid"] == str(live_cast.owner.pk) and noted["src_endpoint"]["ip"] == "192.0.2.5"
    assert (noted["status_id"], blocked["status_id"]) == (1, 2)
    assert by_action["CREATE"]["type_uid"] == 600301
    again = ask(live_cast.owner, f"tenant=acme&cursor={answer['next_cursor']}").json()
    assert "NOTED" not in {event["activity_name"] for event in again["events"]}


@pytest.mark.django_db(transaction=True)
def test_an_entrys_page_says_whether_it_is_sealed(live_cast: Any) -> None:
    with tenant_scope(live_cast.tenant.pk):
        entry = AuditLog.objects.latest("id")
    url = reverse("trail-entry", kwargs={"tenant_slug": "acme", "pk": entry.pk})
    owner = signed_in(live_cast.owner)
    assert b"pending</span>" in owner.get(url).content
    settled()
    seal_trail()
    assert b"pending</span>" not in owner.get(url).content


def test_the_admin_reads_a_bounded_part(cast: Any, django_assert_max_num_queries: Any) -> None:
    note(cast.tenant, 60)
    admin = signed_in(cast.admin)
    with django_assert_max_num_queries(18):
        listed = admin.get(reverse("admin:audit_logentry_changelist"))
    assert listed.status_code == 200 and b"NOTED" in listed.content
    with platform_scope():
        pk = LogEntry.objects.filter(action_name="CREATE").first().pk
    assert admin.get(reverse("admin:audit_logentry_change", args=[pk])).status_code == 200
    assert admin.get(reverse("admin:audit_logentry_add")).status_code == 403
    assert signed_in(cast.owner).get(reverse("admin:audit_logentry_changelist")).status_code == 302


def test_nothing_in_a_csv_is_a_formula(cast: Any) -> None:
    """What people call things is theirs to choose, and whoever audits them opens the file in a spreadsheet."""
    out = io.BytesIO()
    with context.acting(request_id="-2+3+cmd-calc"), tenant_scope(cast.tenant.pk):
        record_event(
            action="NOTED", resource_type="things", tenant_id=cast.tenant.pk, name='=HYPERLINK("http://a.example")'
        )
        export_trail(TrailFilter(resource_type="things"), kind="csv", write=out.write, tenant_id=cast.tenant.pk)
    (row,) = csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""))
    assert row["object_repr"] == '\'=HYPERLINK("http://a.example")' and row["request_id"] == "'-2+3+cmd-calc"
