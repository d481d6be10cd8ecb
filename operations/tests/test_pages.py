"""Jobs in the browser and over REST: seen by those who may, invisible to everybody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from core import clock
from core.paging import encode
from core.registry import Registry, registry
from operations import events, selectors, services
from operations.models import Operation, OperationStep
from tenants.scope import tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db
WHEN = "2026-01-01T00:00:00+00:00"


def an_operation(cast: Any, **fields: Any) -> Operation:
    given = {"kind": "test.any", "title": "Capture of Production", "params": {}, "requested_by": cast.owner, **fields}
    return services.start(tenant_id=cast.tenant.pk, **given)


def add_steps(operation: Operation, count: int) -> None:
    with tenant_scope(operation.tenant_id):
        OperationStep.objects.bulk_create(
            OperationStep(
                tenant_id=operation.tenant_id,
                operation=operation,
                position=n,
                name=f"s{n}",
                title=f"Step {n}",
                state="DONE",
                fence=1,
                started_at=clock.now(),
                ended_at=clock.now(),
            )
            for n in range(count)
        )


def test_a_job_is_shown_with_its_steps(cast: Any, client: Any) -> None:
    operation = an_operation(cast)
    add_steps(operation, 3)
    client.force_login(cast.viewer)
    page = client.get(reverse("job", kwargs={"tenant_slug": "acme", "pk": operation.pk}))
    assert page.status_code == 200
    assert b"Step 2" in page.content and b"Cancel this job?" not in page.content
    listed = client.get(reverse("jobs", kwargs={"tenant_slug": "acme"}))
    assert b"Capture of Production" in listed.content


def test_a_failed_capture_does_not_lead_to_the_snapshot_it_did_not_make(cast: Any, client: Any) -> None:
    made = an_operation(cast, kind="snapshots.capture", subject_type="snapshot", subject_id=cast.tenant.pk)
    client.force_login(cast.viewer)
    for status, there in (("COMPLETED", True), ("FAILED", False), ("RUNNING", False)):
        with tenant_scope(cast.tenant.pk):
            Operation.objects.filter(pk=made.pk).update(status=status)
        page = client.get(reverse("job", kwargs={"tenant_slug": "acme", "pk": made.pk})).content
        assert (b"Open snapshot" in page) is there, status


def ended(cast: Any, result: dict[str, Any], **fields: Any) -> Operation:
    made = an_operation(cast, **fields)
    with tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=made.pk).update(
            status="COMPLETED", result=result, progress_note="Recognising workflows", ended_at=clock.now()
        )
    return made


def page_of(client: Client, operation: Operation) -> str:
    return client.get(reverse("job", kwargs={"tenant_slug": "acme", "pk": operation.pk})).content.decode()


def test_a_finished_job_says_what_it_came_to_and_leads_there(cast: Any, client: Client) -> None:
    snapshot = str(cast.tenant.pk)
    done = ended(cast, {"workflow_count": 1, "findings": 0, "snapshot_id": snapshot}, kind="snapshots.capture")
    client.force_login(cast.viewer)
    page = page_of(client, done)
    assert "Captured 1 workflow." in page and "Open snapshot" in page and snapshot in page
    assert "Recognising workflows" not in page, "its last phase is over"
    with tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=done.pk).update(progress_done=3, progress_total=5, status="FAILED")
        done.refresh_from_db()
    listed = client.get(reverse("jobs", kwargs={"tenant_slug": "acme"})).content.decode()
    assert "3 of 5" not in listed and selectors.operation_row(done)["progress"]["note"] == ""


def test_a_link_that_would_be_refused_is_not_offered(cast: Any, client: Client) -> None:
    report = {"rows": 3, "bytes": 10, "report_run_id": str(cast.tenant.pk)}
    done = ended(cast, report, kind="reports.make")
    for person, there in ((cast.owner, True), (cast.operator, False)):
        client.force_login(person)
        page = page_of(client, done)
        assert "3 rows in 10 B." in page and ("Open report" in page) is there, person


def test_a_stranger_finds_nothing(cast: Any, client: Any) -> None:
    operation = an_operation(cast)
    client.force_login(cast.stranger)
    assert client.get(reverse("jobs", kwargs={"tenant_slug": "acme"})).status_code == 404
    # Another tenant's id under one's own tenant answers exactly as one that does not exist.
    foreign = client.get(reverse("job", kwargs={"tenant_slug": "umbrella", "pk": operation.pk}))
    missing = client.get(reverse("job", kwargs={"tenant_slug": "umbrella", "pk": cast.tenant.pk}))
    assert (foreign.status_code, foreign.content) == (404, missing.content)


def test_only_those_who_operate_may_cancel(cast: Any, client: Any) -> None:
    operation = an_operation(cast)
    cancel = reverse("job-cancel", kwargs={"tenant_slug": "acme", "pk": operation.pk})
    client.force_login(cast.viewer)
    assert client.post(cancel).status_code == 403
    client.force_login(cast.operator)
    assert client.get(cancel).status_code == 405
    assert client.post(cancel).status_code == 302
    with tenant_scope(cast.tenant.pk):
        operation.refresh_from_db()
    assert operation.status == "CANCELLED"
    assert operation.cancel_requested_by_id == cast.operator.pk


@pytest.mark.parametrize("rows", [3, 40])
def test_a_list_costs_the_same_however_long(
    cast: Any, client: Any, rows: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(rows):
        an_operation(cast, title=f"Job {number}")
    client.force_login(cast.owner)
    with django_assert_max_num_queries(26):
        client.get(reverse("jobs", kwargs={"tenant_slug": "acme"}))


def bearer(user: Any, tenant: Any = None, **fields: Any) -> dict[str, str]:
    _, secret = create_token(user=user, tenant=tenant, name="t", **fields)
    return {"authorization": f"Bearer {secret}"}


def test_rest_shows_and_cancels_and_hides(cast: Any, client: Any) -> None:
    operation = an_operation(cast)
    url = f"/api/v1/operations/{operation.pk}"
    assert client.get(url).status_code == 401
    assert client.get(url, headers={"authorization": "Bearer opc_wrong"}).json()["error"]["code"] == "UNAUTHORIZED"
    assert client.get(url, headers=bearer(cast.viewer)).json()["operation"]["status"] == "PENDING"
    hidden = client.get(url, headers=bearer(cast.stranger))
    assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "NOT_FOUND")
    refused = client.post(f"{url}/cancel", headers=bearer(cast.viewer))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    narrowed = client.post(f"{url}/cancel", headers=bearer(cast.owner, permissions=["approve"]))
    assert narrowed.status_code == 403
    assert (
        client.post(f"{url}/cancel", headers=bearer(cast.owner, cast.tenant)).json()["operation"]["status"]
        == "CANCELLED"
    )


def test_a_token_bound_elsewhere_or_revoked_opens_nothing(cast: Any, client: Any) -> None:
    from tenants import services as tenant_services
    from tenants.tokens import revoke_token

    operation = an_operation(cast)
    tenant_services.set_membership(tenant=cast.other_tenant, user=cast.owner, role="viewer", by=cast.stranger)
    url = f"/api/v1/operations/{operation.pk}"
    assert client.get(url, headers=bearer(cast.owner, cast.other_tenant)).status_code == 404
    token, secret = create_token(user=cast.owner, tenant=cast.tenant, name="t")
    assert client.get(url, headers={"authorization": f"Bearer {secret}"}).status_code == 200
    revoke_token(token_id=str(token.pk), tenant=cast.tenant)
    assert client.get(url, headers={"authorization": f"Bearer {secret}"}).status_code == 401


def test_the_list_is_paged_to_its_end(cast: Any, client: Any) -> None:
    made = {str(an_operation(cast, title=f"Job {n}").pk) for n in range(7)}
    headers, seen, cursor = bearer(cast.viewer), [], ""
    while True:
        answer = client.get(f"/api/v1/operations?tenant=acme&limit=3&cursor={cursor}", headers=headers).json()
        seen += [row["id"] for row in answer["operations"]]
        cursor = answer["next_cursor"]
        if not cursor:
            break
    assert len(seen) == 7 and set(seen) == made
    bad = client.get("/api/v1/operations?tenant=acme&cursor=x", headers=headers)
    assert (bad.status_code, bad.json()["error"]["code"]) == (422, "BAD_CURSOR")


@pytest.mark.parametrize("held", [[WHEN, "x"], [WHEN, {"a": 1}], [{"a": 1}, "x"], [WHEN, None]])
def test_a_cursor_that_holds_something_else_is_refused_by_name(cast: Any, client: Any, held: list[Any]) -> None:
    cursor, headers = encode(held), bearer(cast.owner)
    for path in ("operations?", "environments?", "promotions?", "snapshots?", "audit-logs?"):
        bad = client.get(f"/api/v1/{path}tenant=acme&cursor={cursor}", headers=headers)
        assert (bad.status_code, bad.json()["error"]["code"]) == (422, "BAD_CURSOR"), path


def test_news_resume_where_the_listener_left(cast: Any) -> None:
    first = an_operation(cast, title="First")
    poll = events.changes_poll(tenant_ids=[cast.tenant.pk], last_id="2000-01-01T00:00:00+00:00_")
    heard = poll()
    assert [event[2]["title"] for event in heard] == ["First"]
    assert poll() == []
    second = an_operation(cast, title="Second")
    resumed = events.changes_poll(tenant_ids=[cast.tenant.pk], last_id=heard[-1][0])
    assert [event[2]["id"] for event in resumed()] == [str(second.pk)]
    assert events.changes_poll(tenant_ids=[cast.other_tenant.pk], last_id="2000-01-01T00:00:00+00:00_")() == []
    assert first.pk != second.pk


@pytest.mark.django_db(transaction=True)
def test_the_stream_of_a_job_ends_with_it(live_cast: Any, async_client: Any) -> None:
    operation = an_operation(live_cast)
    services.cancel(tenant_id=live_cast.tenant.pk, operation_id=operation.pk, by=live_cast.owner)

    async def listen(user: Any) -> tuple[int, bytes]:
        await async_client.aforce_login(user)
        answer = await async_client.get(f"/t/acme/jobs/{operation.pk}/events/")
        if answer.status_code != 200:
            return answer.status_code, b""
        return 200, b"".join([part async for part in answer.streaming_content])

    status, heard = asyncio.run(listen(live_cast.viewer))
    assert status == 200 and b"event: done" in heard and b'"status":"CANCELLED"' in heard
    assert asyncio.run(listen(live_cast.stranger))[0] == 404


def test_health_says_yes_without_detail(client: Any, db: None) -> None:
    assert client.get("/health").json()["status"] == "ok"
    assert set(client.get("/health").json()) == {"status", "time"}
    parts = client.get("/health/detailed").json()["components"]
    assert parts["database"]["status"] == "ok" and "latency_ms" in parts["database"]
    assert parts["workers"]["status"] == "unknown", "no worker has reported, so it is never drawn as good"
    assert client.get("/api/workflows/health").json()["saga_coordinator"]["active_sagas"] == 0
    assert client.get("/health/detailed").json()["status"] == "degraded"
    assert client.get("/api/workflows/health").json()["status"] == "degraded"
    promotions = client.get("/api/v1/promotions/healthz")
    assert (promotions.status_code, promotions.json()["status"]) == (503, "failed"), "nobody would carry one out"
    assert "stuck" in client.get("/api/v1/background-jobs/status").json()


def test_a_job_that_beats_without_moving_is_noticed(client: Any, cast: Any) -> None:
    operation, moving = an_operation(cast), an_operation(cast)
    long_ago, now = clock.now() - timedelta(hours=1), clock.now()
    alive = {"status": "RUNNING", "started_at": long_ago, "lease_expires_at": now + timedelta(minutes=1)}
    with tenant_scope(cast.tenant.pk):
        Operation.objects.update(**alive, heartbeat_at=now, updated_at=long_ago)
        OperationStep.objects.create(
            tenant=cast.tenant, operation=moving, position=1, name="one", title="One", state="INTENT", fence=1,
            started_at=now,
        )  # fmt: skip
    jobs = client.get("/health/detailed").json()["components"]["jobs"]
    assert (jobs["status"], jobs["stuck"], jobs["standing_still"]) == ("failed", 0, 1)
    assert client.get("/api/v1/background-jobs/status").json()["standing_still"] == 1
    with tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(updated_at=now)
    assert client.get("/health/detailed").json()["components"]["jobs"]["status"] == "ok"


def test_what_waits_for_its_retry_is_an_active_saga(client: Any, cast: Any) -> None:
    for status in ("RUNNING", "PENDING", "RETRY_PENDING", "PARKED", "FAILED"):
        operation = an_operation(cast)
        with tenant_scope(cast.tenant.pk):
            Operation.objects.filter(pk=operation.pk).update(status=status)
    assert client.get("/api/workflows/health").json()["saga_coordinator"]["active_sagas"] == 3


def test_the_state_of_the_jobs_with_the_database_away(client: Any, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("connection refused")

    parts = {name: replace(part, probe=away) for name, part in registry.health_components().items()}
    monkeypatch.setattr(Registry, "health_components", lambda self: parts)
    answer = client.get("/api/v1/background-jobs/status")
    told = answer.json()
    assert (answer.status_code, told["status"], told["database"]["status"]) == (503, "down", "failed")
    assert told["error"]["code"] == "UNAVAILABLE" and told["error"]["recovery"]
    assert told["running"] is None and told["workers"]["status"] == "unknown"


@pytest.mark.django_db(transaction=True)
def test_losing_a_place_ends_the_stream(live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token lives on when its person leaves a tenant; what the stream may tell must not."""
    from django.test import RequestFactory

    from opsconsole import sse
    from tenants import services as tenant_services

    heard: dict[str, Any] = {}
    monkeypatch.setattr(events, "stream", lambda poll, alive, **_: heard.update(alive=alive))
    request = RequestFactory().get("/", headers=bearer(live_cast.viewer))
    asyncio.run(sse.api_stream(request, "background-jobs"))
    assert heard["alive"]() is True
    tenant_services.remove_member(tenant=live_cast.tenant, user=live_cast.viewer)
    assert heard["alive"]() is False


def test_a_tokens_jobs_are_those_of_its_tenant(cast: Any) -> None:
    """Whoever the token's person is, and whatever they asked for in a tenant that they have left since."""
    from tenants import people
    from tenants import services as tenant_services

    tenant_services.set_membership(tenant=cast.other_tenant, user=cast.operator, role="operator", by=cast.stranger)
    for tenant in (cast.tenant, cast.other_tenant):
        services.start(tenant_id=tenant.pk, kind="x", title=f"Of {tenant.slug}", params={}, requested_by=cast.operator)

    def titles(user: Any, tenant: Any = None) -> set[str]:
        _, secret = create_token(user=user, name="t", tenant=tenant)
        told = Client().get("/api/v1/background-jobs", headers={"authorization": f"Bearer {secret}"}).json()
        return {row["title"] for row in told["jobs"]}

    assert titles(cast.admin) == titles(cast.operator) == {"Of acme", "Of umbrella"}
    assert titles(cast.admin, cast.tenant) == titles(cast.operator, cast.tenant) == {"Of acme"}
    people.remove_member(tenant=cast.other_tenant, user_id=cast.operator.pk)
    assert titles(cast.operator) == {"Of acme"}
    page = Client()
    page.force_login(cast.operator)
    assert b"Of umbrella" not in page.get("/platform/jobs/").content
