"""Who may have reports, and through which doors."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection
from django.urls import reverse

from audit.models import AuditLog
from core import clock
from core.errors import OpsError
from operations.models import Operation
from reports import formats, rest, selectors, services
from reports.definitions import all_reports, report_named, settle
from reports.models import ReportRun
from reports.tests.helpers import a_session, asked_for, carry, made, some_events
from tenants.models import Membership, TenantRole
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


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


def test_a_page_that_watched_the_making_offers_the_file_at_once(cast: Any, client: Any) -> None:
    """Its head, where *Download* stands, is outside what asks for itself: the end brings the whole page."""
    run = services.request_report(
        report=report_named("access-review"),
        tenant=cast.tenant,
        asked=settle(as_of=clock.now()),
        kind="csv",
        requested_by=None,
    )
    client.force_login(cast.owner)
    live = f"{reverse('report-run', kwargs={'tenant_slug': 'acme', 'pk': run.pk})}?part=live"
    waiting = client.get(live)
    assert "HX-Retarget" not in waiting and b"Download" not in waiting.content
    carry(run)
    done = client.get(live)
    assert done["HX-Retarget"] == "#content" and b"Download" in done.content


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
    assert b"Starts when a worker is free" in client.get(page.url).content
    carry(run)
    assert b"25" in client.get(page.url).content
    got = client.get(reverse("report-download", kwargs={"tenant_slug": "acme", "pk": run.pk}))
    body = b"".join(got.streaming_content)
    assert len(body.splitlines()) == 25 and all(json.loads(line)["action"] == "REFUSED" for line in body.splitlines())
    verify = reverse("report-act", kwargs={"tenant_slug": "acme", "pk": run.pk, "what": "verify"})
    assert b"The file is unchanged" in client.post(verify, follow=True).content
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


def test_a_preview_that_takes_too_long_says_how_else(cast: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_args: Any, **_more: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(selectors, "PREVIEW_TIMEOUT_MS", 1)
    monkeypatch.setattr(formats, "rows_of", endless)
    client.force_login(cast.owner)
    page = client.get("/t/acme/reports/refused-attempts/", {"period": "90-days"}).content.decode()
    assert "The first rows of this report take too long for a page." in page
    assert "it is written to a file in the background" in page
    with pytest.raises(OpsError) as refused:
        selectors.preview(report_named("refused-attempts"), settle(as_of=clock.now()), tenant_id=cast.tenant.pk)
    assert refused.value.code == "REPORT_PREVIEW_SLOW"


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
    job = client.get(f"/api/v1/operations/{begun.json()['run']['operation_id']}", headers=owner).json()["operation"]
    assert (job["kind"], job["subject_id"]) == ("reports.make", run_id)
    assert client.get(f"/api/v1/reports/runs/{run_id}/download", headers=owner).status_code == 409
    carry(ReportRun(pk=run_id))
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


def test_a_report_that_was_not_made_answers_as_its_error(
    cast: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: ReportRun, seconds: float) -> ReportRun:
        run.status, run.error = "FAILED", "Its workers were lost again and again."
        return run

    monkeypatch.setattr(rest, "_wait_for", fails)
    _, secret = create_token(user=cast.owner, name="t", tenant=cast.tenant)
    headers, ask = {"Authorization": f"Bearer {secret}"}, {"data": {}, "content_type": "application/json"}
    answer = client.post("/api/v1/reports/refused-attempts?wait=5", headers=headers, **ask)
    told = answer.json()
    assert (answer.status_code, told["error"]["code"], told["run"]["status"]) == (500, "REPORT_FAILED", "FAILED")
    assert "lost again" in told["error"]["message"] and told["error"]["recovery"]


def test_a_job_that_is_over_tells_all_its_rows(cast: Any) -> None:
    """Progress is told every so many rows: the last word must not be that of the first."""
    run = made("access-review", cast.tenant, by=cast.owner)
    with tenant_scope(cast.tenant.pk):
        job = Operation.objects.get(pk=run.operation_id)
    assert run.rows and job.progress_note == f"{run.rows} rows"
    assert (job.progress_done, job.progress_total) == (run.rows, run.rows)
