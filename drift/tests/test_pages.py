"""Pages, forms and the REST calls that the runbook makes."""

from __future__ import annotations

import os
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.test import Client

from core import clock
from drift import rest, scheduling, selectors, services
from drift.models import DriftIncident, DriftPolicy, DriftScheduler
from operations.models import Operation, Schedule
from snapshots.canonical import canonical_content, commit_canonical
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token
from tests.reading import flat
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def signed_in(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def bearer(person: Any, **options: Any) -> dict[str, str]:
    _, secret = create_token(user=person, name="test", **options)
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


@pytest.fixture
def incident(site: Any) -> DriftIncident:
    site.edit("Orders", text="<script>alert(1)</script>")
    site.check()
    return site.incident()


@pytest.fixture
def working(site: Any, monkeypatch: Any) -> None:
    """A worker beside the API: what is waited for is carried out."""

    def wait(operation: Operation, seconds: float) -> Operation:
        return site.drive(operation) if operation.status == "PENDING" else operation

    monkeypatch.setattr(rest, "wait_for", wait)


def url(site: Any, path: str = "") -> str:
    return f"/t/{site.tenant.slug}/drift/{path}"


def test_every_page_answers_and_escapes(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.operator)
    for path in (
        "",
        "?state=all&severity=high&kind=modified&expired=1&q=Ord",
        f"?environment={site.environment.pk}&keys=orders",
        "policy/",
        "schedule/",
        f"{incident.pk}/",
        f"{incident.pk}/?view=graph",
        f"{incident.pk}/?view=raw",
        f"{incident.pk}/?view=text",
        f"{incident.pk}/?view=history",
        f"settle/?action=stabilize&selected={incident.pk}",
        f"settle/?action=reconcile&selected={incident.pk}",
        f"settle/?action=acknowledge&selected={incident.pk}",
    ):
        answer = client.get(url(site, path))
        assert answer.status_code == 200, path
        assert b"<script>alert" not in answer.content, path
    said = client.get(url(site, f"{incident.pk}/")).content.decode()
    assert "Orders" in said and "It is published in production" in said
    assert "<svg" in client.get(url(site, f"{incident.pk}/?view=graph")).content.decode()


def test_what_nobody_knows_is_not_called_in_sync(site: Any, live_cast: Any) -> None:
    client, said = signed_in(live_cast.operator), "Every workflow is as it was approved"
    assert said in client.get(url(site, "")).content.decode()

    def now(**facts: Any) -> str:
        with tenant_scope(site.tenant.pk):
            Environment.objects.filter(pk=site.environment.pk).update(**facts)
        return client.get(url(site, "")).content.decode()

    failed = now(last_capture_error={"code": "N8N_007", "message": "no JSON"})
    assert said not in failed and "Production: its last capture failed." in failed
    never = now(last_capture_error=None, last_captured_at=None)
    assert said not in never and "No drift is known" in never and "Check now" in never
    none = now(is_archived=True)
    assert said not in none and "No drift is known" in none and "Check now" not in none


def test_a_partial_answers_htmx(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.viewer)
    partial = client.get(url(site), headers={"HX-Request": "true"})
    assert partial.content.strip().startswith(b"<form")
    assert b"Stabilize" not in partial.content, "a viewer gets no buttons"
    live = client.get(url(site, f"{incident.pk}/?part=live"), headers={"HX-Request": "true"})
    assert live.content.strip().startswith(b'<div id="drift-live"')


@pytest.mark.parametrize("action", ["stabilize", "reconcile"])
def test_once_it_is_settled_the_whole_page_follows(
    site: Any, incident: DriftIncident, live_cast: Any, action: str
) -> None:
    client = signed_in(live_cast.operator)
    path = url(site, f"{incident.pk}/")
    client.post(path, {"action": action, "comment": "as it should be", "typed": "Production"})
    asked = {"HX-Request": "true"}
    under_way = client.get(f"{path}?part=live", headers=asked)
    assert "HX-Retarget" not in under_way
    site.run_all()
    over = client.get(f"{path}?part=live", headers=asked)
    assert over["HX-Retarget"] == over["HX-Reselect"] == "#content"
    told = over.content.decode()
    assert 'id="acknowledge"' not in told and "Settle by" not in told and "Settled" in told


def test_an_archiving_says_what_happened(site: Any, live_cast: Any) -> None:
    site.n8n.archive(site.ids["Orders"])
    site.check()
    found = site.incident(kind="archived")
    told = " ".join(signed_in(live_cast.operator).get(url(site, f"{found.pk}/")).content.decode().split())
    assert "The workflow was archived." in told and "It was published; now it does not run." in told
    assert "It ran in production, and no longer does." in told and "live traffic" not in told
    assert "It is unarchived and published: it runs again." in told
    assert "Archived or unarchived" not in told and "No single change" not in told
    assert "the same as approved" in told, "equal hashes are one, and explained"


def test_a_draft_is_told_apart_from_what_runs(site: Any, live_cast: Any) -> None:
    site.edit("Orders", text="unfinished", draft=True)
    site.check()
    found = site.incident(kind="draft")
    client = signed_in(live_cast.operator)
    told = " ".join(client.get(url(site, f"{found.pk}/")).content.decode().split())
    assert "<dt>Draft</dt>" in told and "<dt>What runs</dt>" in told and "the same as approved" in told
    both = client.get(url(site, f"{found.pk}/?view=graph")).content.decode()
    assert "Published → Draft in the editor" in both


def test_strangers_find_nothing(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.stranger)
    for path in ("", f"{incident.pk}/", "policy/"):
        assert client.get(url(site, path)).status_code == 404
    other = f"/t/{live_cast.other_tenant.slug}/drift/"
    assert client.get(f"{other}{incident.pk}/").status_code == 404
    assert client.get(f"{other}settle/?action=stabilize&selected={incident.pk}").status_code == 404
    call = Client().get(f"/api/v1/incidents/{incident.pk}", **bearer(live_cast.stranger))
    missing = Client().get(f"/api/v1/incidents/{uuid.uuid4()}", **bearer(live_cast.stranger))
    assert (call.status_code, call.json()) == (404, missing.json())


def test_a_viewer_may_not_settle(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.viewer)
    for action in ("acknowledge", "stabilize", "reconcile", "close"):
        assert client.post(url(site, f"{incident.pk}/"), {"action": action}).status_code == 403
    assert client.get(url(site, f"settle/?action=stabilize&selected={incident.pk}")).status_code == 403
    answer = Client().post(
        f"/api/v1/incidents/{incident.pk}/stabilize", "{}", content_type="application/json", **bearer(live_cast.viewer)
    )
    assert answer.status_code == 403
    assert site.incident().incident_state == "OPEN"


def test_production_wants_its_name_typed(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.operator)
    refused = client.post(url(site, f"{incident.pk}/"), {"action": "stabilize"})
    assert refused.status_code == 422
    said = refused.content.decode()
    assert "DRIFT_009" in said and "In production this needs the environment" in said
    assert "Type the name as it is shown and send the form again." in said
    started = client.post(url(site, f"{incident.pk}/"), {"action": "stabilize", "typed": "Production"})
    assert started.status_code == 302
    site.run_all()
    assert site.incident().incident_state == "STABILIZED"
    said = client.get(url(site, f"{incident.pk}/")).content.decode()
    assert "both hashes are equal" in said and "Hashes equal" in said


def test_whoever_had_it_looked_at_has_not_changed_it(site: Any, live_cast: Any) -> None:
    client = signed_in(live_cast.operator)
    before = site.there("Orders")["nodes"]
    for nodes in (workflow("Orders", text="one")["nodes"], workflow("Orders", text="two")["nodes"], before):
        site.edit("Orders", nodes=nodes)
        client.post(url(site, "check/"), {"environment": str(site.environment.pk)})
        site.run_all()
    with tenant_scope(site.tenant.pk):
        told = selectors.history(site.incident())
    assert [entry["title"] for entry in told][:2] == ["Found", "Changed again"] and len(told) == 3, told
    assert {entry["actor"] for entry in told} == {"The console"}
    assert all(f"By a look that {live_cast.operator.email} asked for." in entry["text"] for entry in told), told


def test_a_selection_is_previewed_then_settled(site: Any, live_cast: Any) -> None:
    site.edit("Orders", text="one")
    site.seed(workflow("Stranger"))
    site.check()
    ids = [str(i.pk) for i in site.incidents()]
    client = signed_in(live_cast.operator)
    preview = client.get(url(site, "settle/"), {"action": "stabilize", "selected": ids}).content.decode()
    assert "Orders" in preview and "Stranger" in preview and "Delete them" in preview
    form = {"action": "stabilize", "selected": ids, "confirmed": "1", "added": "delete", "comment": "kept"}
    refused = client.post(url(site, "settle/"), form)
    assert refused.status_code == 422 and "kept" in refused.content.decode()
    record = 'name="create_promotion_record" checked'
    again = {**form, "action": "reconcile"}
    assert record in flat(client.get(url(site, "settle/"), {"action": "reconcile", "selected": ids}).content)
    assert record not in flat(client.post(url(site, "settle/"), again).content), "it was unticked"
    assert record in flat(client.post(url(site, "settle/"), {**again, "create_promotion_record": "on"}).content)
    done = client.post(url(site, "settle/"), {**form, "typed": "Production"})
    assert done.status_code == 302 and "/jobs/" in done["Location"]
    site.run_all()
    assert {i.incident_state for i in site.incidents()} == {"STABILIZED"}
    assert site.there("Stranger") is None


def test_acknowledge_and_close_by_form(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    client = signed_in(live_cast.operator)
    where = url(site, f"{incident.pk}/")
    assert client.post(where, {"action": "acknowledge", "comment": "mine"}).status_code == 302
    assert site.incident().assigned_to == live_cast.operator
    assert client.post(where, {"action": "close", "resolution_type": "accepted", "comment": "fine"}).status_code == 302
    assert site.incident().incident_state == "CLOSED"
    history = client.get(url(site, f"{incident.pk}/?view=history")).content.decode()
    assert "operator@example.org" in history and "Acknowledged" in history and "Closed" in history


def test_the_policy_form(site: Any, live_cast: Any) -> None:
    form = {"ttl_hours_critical": 2, "ttl_hours_high": 8, "ttl_hours_medium": 24, "ttl_hours_low": 48}
    assert signed_in(live_cast.operator).post(url(site, "policy/"), form).status_code == 403
    client = signed_in(live_cast.owner)
    wrong = client.post(url(site, "policy/"), {**form, "ttl_hours_critical": 99})
    assert wrong.status_code == 422 and "Graver drift" in wrong.content.decode()
    assert client.post(url(site, "policy/"), {**form, "enforce_ttl": "on"}).status_code == 302
    with tenant_scope(site.tenant.pk):
        policy = DriftPolicy.objects.get()
    assert (policy.ttl_hours_critical, policy.enforce_ttl, policy.block_on_active_drift) == (2, True, False)


def _many(site: Any, count: int) -> None:
    with tenant_scope(site.tenant.pk):
        canonical = [
            CanonicalWorkflow(tenant=site.tenant, key=f"many-{uuid.uuid4().hex[:8]}", name=f"Many {n}")
            for n in range(count)
        ]
        CanonicalWorkflow.objects.bulk_create(canonical)
        places = [
            WorkflowEnvMap(
                tenant=site.tenant,
                environment=site.environment,
                canonical_workflow=c,
                env_workflow_id=c.key,
                env_name=c.name,
                git_content_hash="a" * 64,
                env_content_hash="b" * 64,
            )
            for c in canonical
        ]
        WorkflowEnvMap.objects.bulk_create(places)
        DriftIncident.objects.bulk_create(
            [
                DriftIncident(
                    tenant=site.tenant,
                    workflow_env_map=p,
                    severity="high",
                    ttl_expires_at=clock.now() + timedelta(hours=n),
                    drift_snapshot={"diff_summary": {"sentences": ["It changed."]}},
                )
                for n, p in enumerate(places)
            ]
        )


def test_the_list_is_paged_and_asks_the_same_number_of_queries(
    site: Any, live_cast: Any, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(live_cast.operator)
    _many(site, 3)
    client.get(url(site))
    with django_assert_max_num_queries(34) as few:
        client.get(url(site))
    _many(site, 60)
    with django_assert_max_num_queries(34) as many:
        answer = client.get(url(site))
    assert len(many.captured_queries) == len(few.captured_queries)
    assert len(answer.context["rows"]) == 50
    second = client.get(url(site), {"cursor": answer.context["page"].next_cursor})
    first_ids = {row.incident.pk for row in answer.context["rows"]}
    assert len(second.context["rows"]) == 13
    assert not first_ids & {row.incident.pk for row in second.context["rows"]}


def test_the_tiles_count_what_the_list_shows(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    with tenant_scope(site.tenant.pk):
        other = Environment.objects.create(
            tenant=site.tenant, name="Other", slug="other", kind="dev", base_url="http://127.0.0.1:1"
        )
    client = signed_in(live_cast.viewer)
    everywhere = client.get(url(site))
    assert everywhere.context["counts"]["active"] == 1 and b"environment=other" not in everywhere.content
    there = client.get(url(site), {"environment": other.slug})
    assert there.context["counts"]["active"] == len(there.context["rows"]) == 0
    assert re.search(rb"severity=high&(amp;)?environment=other", there.content)


def test_what_must_be_settled_first_stands_first_through_all_pages(site: Any) -> None:
    _many(site, 9)
    start = clock.now()
    with tenant_scope(site.tenant.pk):
        rows = list(DriftIncident.objects.order_by("pk"))
        for number, row in enumerate(rows):
            row.ttl_expires_at = None if number == 4 else start + timedelta(hours=number % 3)
            row.severity = ("low", "critical", "medium")[number // 3]
        DriftIncident.objects.bulk_update(rows, ["ttl_expires_at", "severity"])
        asked, cursor, seen = selectors.IncidentFilter(state="active"), "", []
        while True:
            page = selectors.most_urgent(asked, cursor=cursor, limit=2)
            seen += page.rows
            cursor = page.next_cursor
            if not cursor:
                break
    rank = {"critical": 0, "medium": 2, "low": 3}
    wanted = sorted(rows, key=lambda r: (r.ttl_expires_at is None, r.ttl_expires_at or start, rank[r.severity], r.pk))
    assert [row.pk for row in seen] == [row.pk for row in wanted]


def test_rest_reads_what_the_runbook_reads(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    token = bearer(live_cast.viewer)
    body = Client().get(f"/api/v1/incidents/{incident.pk}", **token).json()["incident"]
    for name in ("severity", "incident_state", "workflow_name", "environment_name", "created_at", "ttl_expires_at"):
        assert body[name], name
    assert body["drift_snapshot"]["diff_summary"]["sentences"]
    assert body["drift_snapshot"]["full_diff"]["changes"]
    listed = Client().get(f"/api/v1/incidents?environment_id={site.environment.pk}&state=active", **token).json()
    assert [row["id"] for row in listed["incidents"]] == [str(incident.pk)]
    assert "full_diff" not in listed["incidents"][0]["drift_snapshot"]
    by_slug = Client().get(f"/api/v1/incidents?tenant={site.tenant.slug}&state=closed", **token).json()
    assert by_slug == {"incidents": [], "next_cursor": None}
    for wrong in ("state=closd", "severity=hgih", "kind=changed"):
        answer = Client().get(f"/api/v1/incidents?tenant={site.tenant.slug}&{wrong}", **token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID"), wrong


def test_the_runbooks_stabilize_is_done_when_it_answers(
    site: Any, incident: DriftIncident, live_cast: Any, working: None
) -> None:
    token = bearer(live_cast.operator)

    def call(action: str, body: dict[str, Any], **headers: str) -> Any:
        return Client().post(
            f"/api/v1/incidents/{incident.pk}/{action}", body, content_type="application/json", **token, **headers
        )

    noted = call("acknowledge", {"comment": "Under investigation", "assigned_to": str(live_cast.owner.pk)})
    assert noted.json()["incident"]["incident_state"] == "ACKNOWLEDGED"
    asked = {"comment": "Reverting unauthorized changes", "force": False}
    done = call("stabilize", asked, HTTP_IDEMPOTENCY_KEY="abc")
    assert done.status_code == 200, done.json()
    assert done.json()["incident"]["incident_state"] == "STABILIZED"
    assert call("stabilize", asked, HTTP_IDEMPOTENCY_KEY="abc").status_code == 200
    again = call("stabilize", asked)
    assert again.status_code == 200, "what is settled already stays so"
    assert again.json()["incident"]["incident_state"] == "STABILIZED"
    closed = call("close", {"comment": "Drift resolved", "resolution_type": "reconciled"})
    assert closed.json()["incident"]["incident_state"] == "CLOSED"


def test_the_runbooks_reconcile_and_its_failure(
    site: Any, incident: DriftIncident, live_cast: Any, working: None
) -> None:
    token = bearer(live_cast.operator)
    where = f"/api/v1/incidents/{incident.pk}/reconcile"
    body = {"comment": "Authorized hotfix", "update_git": True, "create_promotion_record": True}
    site.edit("Orders", text="edited meanwhile")
    failed = Client().post(where, body, content_type="application/json", **token)
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "DRIFT_003")
    assert failed.json()["error"]["details"]["cause"]["code"] == "DRIFT_007"
    site.check()
    done = Client().post(where, body, content_type="application/json", **token)
    assert done.json()["incident"]["incident_state"] == "RECONCILED"
    assert done.json()["incident"]["git_content_hash"] == done.json()["incident"]["env_content_hash"]
    wrong = Client().post(where, {"update_git": "yes"}, content_type="application/json", **token)
    assert wrong.status_code == 422


def test_what_was_stopped_everywhere_starts_again_but_not_what_people_stopped(make_site: Any, live_cast: Any) -> None:
    site, other = make_site(), make_site(tenant=live_cast.other_tenant)
    scheduling.keep_schedules()
    scheduling.set_scheduler(tenant_id=other.tenant.pk, is_running=False, by=live_cast.stranger)
    post = {"content_type": "application/json"}
    switch = "/api/v1/drift/schedulers/"
    assert Client().post(f"{switch}start-all", **post, **bearer(live_cast.owner)).status_code == 403
    assert Client().post(f"{switch}stop-all", **post, **bearer(live_cast.admin)).json()["stopped"] == 1
    answer = Client().post(f"{switch}start-all", **post, **bearer(live_cast.admin))
    assert answer.json() == {"started": 1, "left_stopped": 1, "schedules": 1}
    assert (scheduling.is_running(site.tenant.pk), scheduling.is_running(other.tenant.pk)) == (True, False)
    with tenant_scope(site.tenant.pk):
        assert Schedule.objects.get(kind="drift.check").is_enabled
    again = Client().post(f"{switch}start-all", **post, **bearer(live_cast.admin))
    assert again.json() == {"started": 0, "left_stopped": 1, "schedules": 0}


def test_schedules_exist_for_every_environment_and_stop_everywhere(
    make_site: Any, live_cast: Any, django_assert_max_num_queries: Any
) -> None:
    site = make_site()
    assert scheduling.keep_schedules() == 1
    assert scheduling.keep_schedules() == 0
    with tenant_scope(site.tenant.pk):
        assert Schedule.objects.get(kind="drift.check").is_enabled
        assert DriftPolicy.objects.count() == 1, "the runbook joins on it"
    post = {"content_type": "application/json"}
    stop = "/api/v1/drift/schedulers/stop-all"
    assert Client().post(stop, **post, **bearer(live_cast.owner)).status_code == 403
    answer = Client().post(stop, **post, **bearer(live_cast.admin))
    assert answer.json()["stopped"] == 2
    with platform_scope():
        assert set(DriftScheduler.objects.values_list("is_running", flat=True)) == {False}
        assert not Schedule.objects.filter(kind="drift.check", is_enabled=True).exists()
    other = make_site(tenant=live_cast.other_tenant)
    scheduling.keep_schedules()
    with tenant_scope(other.tenant.pk):
        assert not Schedule.objects.get(kind="drift.check").is_enabled, "stopped means stopped for new ones too"
    started = services.start_check(tenant_id=site.tenant.pk, environment_id=site.environment.pk, requested_by=None)
    assert "stopped" in site.drive(started).result["skipped"]
    client = signed_in(live_cast.operator)
    assert client.post(url(site, "schedule/"), {"is_running": "on", "every_minutes": 5}).status_code == 302
    with tenant_scope(site.tenant.pk):
        schedule = Schedule.objects.get(kind="drift.check")
        assert (schedule.is_enabled, schedule.every_seconds) == (True, 300)


def test_an_archived_environment_is_no_longer_checked(make_site: Any) -> None:
    site = make_site()
    scheduling.keep_schedules()
    with tenant_scope(site.tenant.pk):
        Environment.objects.update(is_archived=True)
    scheduling.keep_schedules()
    with tenant_scope(site.tenant.pk):
        assert not Schedule.objects.get(kind="drift.check").is_enabled


def test_check_now_from_the_page(site: Any, live_cast: Any) -> None:
    client = signed_in(live_cast.operator)
    started = client.post(url(site, "check/"), {"environment": str(site.environment.pk)})
    assert started.status_code == 302 and "/jobs/" in started["Location"]
    site.run_all()
    assert "nothing changed" in client.get(url(site, "schedule/")).content.decode()


def test_the_guides_queries_run(site: Any, incident: DriftIncident) -> None:
    """What the guide gives a person to type at psql, as the operator."""
    text = (Path(__file__).parents[2] / "docs/guide/drift.md").read_text()
    (block,) = re.findall(r"```sql\n(.*?)```", text, re.S)
    first, second = (sql for sql in block.split(";") if sql.strip())
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        ((environment, name, severity, state, left, sentence),) = operator.execute(first).fetchall()
        assert (severity, state) == (incident.severity, "OPEN") and left.total_seconds() > 0
        assert environment and name and sentence == incident.drift_snapshot["diff_summary"]["sentences"][0]
        assert ("acme", True, True) in {row[:3] for row in operator.execute(second).fetchall()}


@pytest.mark.parametrize("action", ["stabilize", "reconcile"])
def test_an_incident_shows_what_it_was_about_whatever_came_after(
    site: Any, incident: DriftIncident, live_cast: Any, action: str
) -> None:
    """Both sides are the versions of then: neither settling nor later edits change what the page says."""
    client, views = signed_in(live_cast.operator), ("words", "text", "graph", "raw")
    before = {view: client.get(url(site, f"{incident.pk}/?view={view}")).context for view in views}
    assert all(not shown["diff"].is_empty for shown in before.values())
    client.post(url(site, f"{incident.pk}/"), {"action": action, "comment": "as it should be", "typed": "Production"})
    site.run_all()
    assert not site.incident().is_active
    site.edit("Orders", text="something else again")
    site.capture()
    for view, shown in before.items():
        now = client.get(url(site, f"{incident.pk}/?view={view}")).context
        assert now["diff"] == shown["diff"] and not now["unreadable"], view
        assert [now.get(f"{side}_raw") for side in ("left", "right")] == [
            shown.get(f"{side}_raw") for side in ("left", "right")
        ]
    assert client.get(before["words"]["versions_url"]).context["diff"] == before["graph"]["diff"]


def test_an_incident_whose_versions_are_lost_tells_what_was_found(
    site: Any, incident: DriftIncident, live_cast: Any
) -> None:
    with tenant_scope(site.tenant.pk):
        DriftIncident.objects.filter(pk=incident.pk).update(snapshot_id=uuid.uuid4())
    shown = signed_in(live_cast.operator).get(url(site, f"{incident.pk}/?view=text"))
    assert shown.context["unreadable"] and not shown.context["diff"].is_empty
    assert b"Git does not give both versions" in shown.content


def test_an_incident_says_what_was_approved_since(site: Any, incident: DriftIncident, live_cast: Any) -> None:
    """Reconciling would set aside what was approved after the incident was found: both sides are told."""
    client, where = signed_in(live_cast.operator), url(site, f"{incident.pk}/")
    assert "three" not in client.get(where).context
    approved = canonical_content(site.environment, ["orders"])["orders"]
    for step in approved["nodes"]:
        step["parameters"] = {**step["parameters"], "value": "approved meanwhile"}
    commit_canonical(None, environment=site.environment, changes={"orders": approved}, message="Meanwhile")
    for view in ("words", "text", "graph"):
        answer = client.get(f"{where}?view={view}")
        conflicts = answer.context["three"].conflicts
        assert [one.title for one in conflicts] == ["“Step”: value"] and "Approved now" in answer.content.decode()
        assert conflicts[0].ours == "approved meanwhile" and "script" in (conflicts[0].theirs or "")
        assert b"<script>alert" not in answer.content
