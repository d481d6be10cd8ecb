"""Reverting what a session did, through HTTP, with real services and n8n look-alikes behind them."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest
from django.test import Client

from drift import services as drift
from drift.models import DriftIncident
from impersonation.tests.conftest import Begin, at_browser, trail
from impersonation.tests.test_kill import inside
from operations import engine
from operations.handlers import boundary_observers
from operations.models import Operation, Schedule
from promotions.models import Promotion
from promotions.tests.conftest import empty_world, no_drift, sandbox_server, world  # noqa: F401 -- fixtures
from promotions.tests.test_versions import call_it, estate, versions  # noqa: F401 -- a fixture among them
from promotions.tests.world import World, flow, node
from snapshots.models import Snapshot
from snapshots.session_revert import SESSION_RESTORE
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows import credentials
from workflows import services as environments
from workflows.models import CanonicalWorkflow, CredentialMapping, Environment, MapStatus, WorkflowEnvMap

pytestmark = pytest.mark.django_db(transaction=True)

RULES = {"enforce_ttl": "on", "ttl_hours_critical": 4, "ttl_hours_high": 24, "ttl_hours_medium": 72}
STRICT = {**RULES, "block_on_active_drift": "on", "ttl_hours_low": 168}
LAX = {**RULES, "ttl_hours_low": 900}


class Visit:
    """One session of support as the owner of the world's tenant, and the acts of those who come after it."""

    def __init__(self, of: World, begin: Begin, run_operations: Any) -> None:
        self.world, self.cast, self.run_operations = of, of.cast, run_operations
        self.client, self.session = begin(target=of.cast.owner, write=True)
        self.revert_url = f"/platform/support/sessions/{self.session.pk}/revert/"

    def post(self, path: str, client: Client | None = None, **data: Any) -> None:
        answer = (client or self.client).post(f"/t/acme/{path}", data)
        assert answer.status_code in (302, 303), (path, answer.status_code, answer.content.decode()[:3000])
        self.run_operations(self.cast.tenant)

    def execute(self, *keys: str) -> Promotion:
        promotion = self.world.approved(*keys)
        self.post(f"promotions/{promotion.pk}/", action="execute", typed="Production")
        assert self.world.fresh(promotion).status == "COMPLETED", self.world.fresh(promotion).execution_result
        return promotion

    def restore(self, snapshot: Snapshot, *keys: str) -> None:
        self.post(
            f"snapshots/{snapshot.pk}/restore/", overwrite_existing="on", choice="selected", selected=keys,
            typed="Production",
        )  # fmt: skip

    def end(self) -> None:
        assert self.client.post("/platform/support/mine/end/").status_code == 302

    def plan(self, user: Any = None) -> dict[str, dict[str, Any]]:
        """What the API offers, by the item's kind."""
        answer = self.api(user, "get")
        assert answer.status_code == 200, answer.content
        return {item["kind"]: item for item in answer.json()["items"]}

    def api(self, user: Any, method: str, **body: Any) -> Any:
        _, secret = create_token(user=user or self.cast.admin, name="revert")
        url = f"/api/v1/platform/impersonate/{self.session.pk}/revert"
        given: dict[str, Any] = {"data": body, "content_type": "application/json"} if method == "post" else {}
        return getattr(Client(), method)(url, headers={"Authorization": f"Bearer {secret}"}, **given)

    def revert(self, user: Any = None, **chosen: Any) -> Operation:
        """Ask through the page as a platform admin, and carry it through."""
        data = {"typed": self.cast.tenant.name, "choice": "selected", **chosen}
        answer = at_browser(user or self.cast.admin).post(self.revert_url, data)
        assert answer.status_code == 302, answer.content.decode()[:3000]
        self.run_operations(self.cast.tenant)
        return self.last()

    def last(self) -> Operation:
        with tenant_scope(self.cast.tenant.pk):
            return Operation.objects.filter(kind="impersonation.revert").latest("created_at")

    def outcomes(self, operation: Operation) -> dict[str, str]:
        assert operation.status == "COMPLETED", (operation.error_code, operation.error_message)
        return {row["kind"]: row["outcome"] for row in operation.result["items"]}


@pytest.fixture
def visit(world: World, begin_live: Begin, run_operations: Any) -> Visit:  # noqa: F811
    """A customer with rules and credentials of its own; then support comes."""
    tenant_id, owner = world.tenant_id, at_browser(world.cast.owner)
    world.target.edit(world.by_name()["Same"]["id"], nodes=flow("Same", node("Newer"))["nodes"])
    world.capture(world.production)
    assert owner.post("/t/acme/drift/policy/", STRICT).status_code == 302
    assert owner.post("/t/acme/drift/schedule/", {"is_running": "on", "every_minutes": 15}).status_code == 302
    for environment, ident in ((world.staging, "s1"), (world.production, "p1"), (world.production, "p2")):
        credentials.enter_credential(
            tenant_id=tenant_id, environment_id=environment.pk, credential_type="slackApi", name="Slack",
            credential_id=ident,
        )  # fmt: skip
    return Visit(world, begin_live, run_operations)


def map_credential(visit: Visit, ident: str, client: Client | None = None) -> None:
    visit.post(
        "credentials/", client, source="staging", target="production", action="map", credential_type="slackApi",
        source_name="Slack", source_credential_id="s1", target_credential_id=ident,
    )  # fmt: skip


def settings_now(visit: Visit) -> dict[str, Any]:
    """Every setting that the tests touch, behind the console's back."""
    from drift.models import DriftPolicy, DriftScheduler

    with tenant_scope(visit.cast.tenant.pk):
        policy, checks = DriftPolicy.objects.get(), DriftScheduler.objects.get()
        return {
            "policy": (policy.block_on_active_drift, policy.ttl_hours_low),
            "checks": (checks.is_running, checks.every_seconds),
            "schedules": sorted(Schedule.objects.filter(kind="drift.check").values_list("every_seconds", "is_enabled")),
            "mappings": list(CredentialMapping.objects.values_list("source_name", "target_credential_id")),
            "places": sorted(WorkflowEnvMap.objects.values_list("canonical_workflow__key", "status")),
            "environments": sorted(Environment.objects.values_list("name", "position")),
        }


def misbehave(visit: Visit) -> None:
    """One of each: rules, checks, a credential, an identity, a draft, a promotion, a restore."""
    visit.post("drift/policy/", **LAX)
    visit.post("drift/schedule/", every_minutes=60)
    map_credential(visit, "p1")
    map_credential(visit, "p2")
    with tenant_scope(visit.cast.tenant.pk):
        place = WorkflowEnvMap.objects.get(environment=visit.world.production, canonical_workflow__key="other")
        oldest = Snapshot.objects.filter(environment=visit.world.production).earliest("created_at")
    visit.post(f"environments/{visit.world.production.pk}/mapping/", place=str(place.pk), action="ignore")
    visit.post("promotions/new/", source="staging", target="production", selected=["billing"], name="Draft")
    visit.execute("billing", "intake")
    visit.restore(oldest, "billing", "same")


def test_all_that_a_session_did_is_undone(visit: Visit) -> None:
    was, hashes = settings_now(visit), visit.world.hashes()
    misbehave(visit)
    assert settings_now(visit) != was and visit.world.hashes() != hashes
    assert at_browser(visit.cast.admin).get(visit.revert_url).status_code == 200
    visit.end()
    plan = visit.plan()
    assert {kind: item["verdict"] for kind, item in plan.items() if item["verdict"] != "nothing"} == dict.fromkeys(
        ("drift policy", "schedule of drift checks", "credential stand-in", "workflow in an environment", "promotion",
         "restore"), "ready"
    )  # fmt: skip
    assert plan["drift policy"]["facts"] == [
        {"name": "Drift blocks promotions", "before": "yes", "after": "no", "now": "no"},
        {"name": "Hours, low", "before": "168", "after": "900", "now": "900"},
    ]
    done = visit.revert(choice="all")
    assert set(visit.outcomes(done).values()) == {"undone"}, done.result
    assert done.result["counts"] == {"undone": 7}
    now = settings_now(visit)
    for key in ("helper", "intake"):  # what the promotion had made is known as taken away again
        assert (key, MapStatus.DELETED) in now["places"]
    now["places"] = [place for place in now["places"] if place[1] != MapStatus.DELETED]
    assert now == was
    assert visit.world.hashes() == hashes
    assert {item["verdict"] for item in visit.plan().values()} <= {"undone", "nothing"}
    written = [e for e in trail(resource_type="drift_policies") if e.details["new_value"].get("ttl_hours_low") == 168]
    assert (written[-1].actor_user_id, written[-1].session_id) == (visit.cast.admin.pk, None)
    (event,) = trail(action="IMPERSONATION_REVERT")
    assert event.details["session_id"] == str(visit.session.pk) and event.actor_user_id == visit.cast.admin.pk
    page = at_browser(visit.cast.owner).get(f"/t/acme/support/sessions/{visit.session.pk}/revert/").content.decode()
    assert page.count("Reverted") > 6


def test_the_runbooks_queries_find_what_a_session_wrote_into_n8n(visit: Visit) -> None:
    visit.execute("billing", "intake")
    visit.end()
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        written = operator.execute(WRITTEN_IN_SESSION, [visit.cast.support.pk]).fetchall()
        touched = operator.execute(TOUCHED_IN_SESSION, [visit.cast.support.pk, visit.cast.owner.pk]).fetchall()
    found = {name: (action, sent["content_hash"], status) for action, name, sent, status in written}
    hashes = {name: value for name, value, _ in visit.world.hashes().values()}
    assert set(found) == {"Billing", "Helper", "Intake"}
    assert {name: action for name, (action, _, _) in found.items()} == {
        "Billing": "UPDATE", "Helper": "CREATE", "Intake": "CREATE",
    }  # fmt: skip
    assert {status for _, _, status in found.values()} == {200} and found["Billing"][1] and hashes["Billing"]
    with tenant_scope(visit.cast.tenant.pk):
        ids = dict(CanonicalWorkflow.objects.values_list("key", "pk"))
    assert {action: set(affected) for action, _, affected in touched} == {
        "UPDATE": {ids["billing"]}, "CREATE": {ids["helper"], ids["intake"]},
    }  # fmt: skip


WRITTEN_IN_SESSION = """
SELECT al.action, al.details->'request_body'->>'name', al.details->'request_body', al.details->'response_status'
  FROM audit_logs al WHERE al.actor_user_id = %s AND al.impersonated_user_id IS NOT NULL
   AND al.action IN ('CREATE', 'UPDATE', 'DELETE') AND al.resource_type = 'workflows' ORDER BY al.created_at DESC
"""
TOUCHED_IN_SESSION = """
SELECT al.action, COUNT(*) AS modification_count, array_agg(DISTINCT al.resource_id) AS affected_resources
  FROM audit_logs al WHERE al.actor_user_id = %s AND al.impersonated_user_id = %s
   AND al.action IN ('CREATE', 'UPDATE', 'DELETE') AND al.resource_type = 'workflows'
 GROUP BY al.resource_type, al.action
"""


def test_what_went_outside_is_in_the_timeline_and_so_is_its_revert(visit: Visit) -> None:
    visit.execute("billing", "intake")
    visit.end()
    own = trail(session=visit.session.pk)
    outside = [e for e in own if e.action.startswith("EFFECT_")]
    assert {(e.actor_user_id, e.impersonated_user_id) for e in outside} == {
        (visit.cast.support.pk, visit.cast.owner.pk)
    }
    ends = {e.details["step"] for e in outside if e.action == "EFFECT_DONE"}
    assert ends == {e.details["step"] for e in outside if e.action == "EFFECT_INTENDED"}
    writes = {f"promote:write:{key}" for key in ("billing", "helper", "intake")}
    assert ends == {*writes, "promotion:canonical"}, "what was approved is the session's work, too"

    looks = ((visit.cast.owner, f"/t/acme/support/sessions/{visit.session.pk}/"), (visit.cast.admin, ""))
    for person, path in looks:
        page = at_browser(person).get(path or f"/platform/support/sessions/{visit.session.pk}/", {"kind": "effects"})
        text = page.content.decode()
        assert "Done outside: Production: Billing" in text and "n8n: PUT /workflows/" in text
        assert "Written to n8n" in text and "Viewed" not in text
    _, secret = create_token(user=visit.cast.admin, name="look")
    url = f"/api/v1/platform/impersonate/sessions/{visit.session.pk}"
    told = Client().get(url, headers={"Authorization": f"Bearer {secret}"}).json()["session"]
    assert told["counts"]["effects"] == len(ends)
    impact = {item["resource_type"]: item for item in told["impact"]}
    assert impact["outside_n8n"]["counts"] == {"done": 3} and impact["outside_git"]["counts"] == {"done": 1}
    assert sorted(thing["name"] for thing in impact["outside_n8n"]["resources"]) == [
        "Production: Billing", "Production: Helper", "Production: Intake",
    ]  # fmt: skip

    assert visit.outcomes(visit.revert(choice="all"))["promotion"] == "undone"
    since = [e for e in trail(action="EFFECT_DONE") if e.pk > own[-1].pk]
    put_back = {(e.details["method"], e.object_repr) for e in since if e.details["system"] == "n8n"}
    assert put_back == {
        ("PUT", "Production: Billing"), ("DELETE", "Production: helper"), ("DELETE", "Production: intake"),
    }  # fmt: skip
    assert {(e.actor_user_id, e.session_id) for e in since} == {(visit.cast.admin.pk, None)}


def test_what_somebody_changed_since_is_a_conflict_and_survives(visit: Visit) -> None:
    visit.post("drift/policy/", **LAX)
    map_credential(visit, "p1")
    promotion = visit.execute("billing")
    visit.end()
    at_browser(visit.cast.owner).post("/t/acme/drift/policy/", {**LAX, "ttl_hours_low": 1000})
    billing = visit.world.by_name()["Billing"]
    theirs = flow("Billing", node("Theirs"))["nodes"]
    visit.world.target.edit(billing["id"], nodes=theirs)
    visit.world.capture(visit.world.production)

    plan = visit.plan()
    assert plan["promotion"]["verdict"] == plan["drift policy"]["verdict"] == "conflict"
    assert "Billing" in plan["promotion"]["why"] and visit.cast.owner.email in plan["drift policy"]["why"]
    low = plan["drift policy"]["facts"][-1]
    assert (low["before"], low["after"], low["now"]) == ("168", "900", "1000")
    done = visit.revert(selected=[item["id"] for item in plan.values()])
    assert visit.outcomes(done) == {
        "drift policy": "conflict",
        "promotion": "conflict",
        "credential stand-in": "undone",
    }
    assert settings_now(visit)["policy"] == (False, 1000) and settings_now(visit)["mappings"] == []
    assert visit.world.by_name()["Billing"]["nodes"] == theirs
    assert visit.world.fresh(promotion).status == "COMPLETED"

    forced = visit.revert(selected=[plan["promotion"]["id"]], force=[plan["promotion"]["id"]])
    assert visit.outcomes(forced) == {"promotion": "undone"}
    assert visit.world.by_name()["Billing"]["nodes"] != theirs
    assert settings_now(visit)["policy"] == (False, 1000)


def test_an_edit_that_nobody_has_seen_yet_survives_the_undoing_of_a_restore(visit: Visit) -> None:
    """By content hash in n8n itself, not by what was last seen."""
    with tenant_scope(visit.cast.tenant.pk):
        before = Snapshot.objects.filter(environment=visit.world.production).latest("created_at")
    ids = {name: raw["id"] for name, raw in visit.world.by_name().items()}
    for name in ("Billing", "Same"):
        visit.world.target.edit(ids[name], nodes=flow(name, node("Customer's own"))["nodes"])
    visit.world.capture(visit.world.production)
    own = visit.world.hashes()
    visit.restore(before, "billing", "same")
    assert visit.world.hashes() != own
    visit.end()
    theirs = flow("Billing", node("Theirs"))["nodes"]
    visit.world.target.edit(ids["Billing"], nodes=theirs)
    assert visit.plan()["restore"]["verdict"] == "ready"
    done = visit.revert(choice="all")
    assert visit.outcomes(done) == {"restore": "conflict"}
    assert "“Billing”; 1 put back" in done.result["items"][0]["message"]
    assert visit.world.by_name()["Billing"]["nodes"] == theirs
    assert visit.world.hashes()[ids["Same"]] == own[ids["Same"]]


def test_what_others_have_come_to_call_stays_published_when_a_restore_is_undone(
    versions: World,  # noqa: F811
    begin_live: Begin,
    run_operations: Any,
) -> None:
    ids = estate(versions.target, "theirs")
    versions.capture()
    with tenant_scope(versions.tenant_id):
        running = Snapshot.objects.filter(environment=versions.production).latest("created_at")
    for name in ("Main", "Sub"):
        versions.target.edit(ids[name], active=False)
    versions.target.settle()
    versions.capture(versions.production)
    visit = Visit(versions, begin_live, run_operations)
    visit.restore(running, "sub")
    assert versions.by_name()["Sub"]["active"] is True
    visit.end()
    call_it(versions, ids)
    done = visit.revert(choice="all")
    assert visit.outcomes(done) == {"restore": "undone"}
    assert done.result["items"][0]["message"] == "“Sub” stays published, because “Later” calls it."
    assert versions.by_name()["Sub"]["active"] is True
    with tenant_scope(versions.tenant_id):
        result = Operation.objects.get(kind=SESSION_RESTORE).result
    assert result["kept_published"] == [{"key": "sub", "name": "Sub", "called_by": ["Later"]}]
    assert result["proof"]["equal"] is True and [row["fact"] for row in result["proof"]["left"]] == ["published"]


def test_a_customers_edit_that_a_session_stabilized_away_is_there_again(visit: Visit) -> None:
    promotion = visit.world.carry_out(visit.world.approved("billing"))
    assert promotion.status == "COMPLETED"
    billing = visit.world.by_name()["Billing"]["id"]
    visit.world.target.edit(billing, nodes=flow("Billing", node("Customer's own"))["nodes"], active=False)
    visit.world.capture(visit.world.production)
    own = visit.world.hashes()
    with tenant_scope(visit.cast.tenant.pk):
        incident = DriftIncident.objects.get(workflow_env_map__canonical_workflow__key="billing")
    with inside(visit.session):
        drift.stabilize(
            tenant_id=visit.cast.tenant.pk, incident_ids=[incident.pk], requested_by=visit.cast.owner
        )  # fmt: skip
    visit.run_operations(visit.cast.tenant)
    assert visit.world.hashes()[billing] != own[billing]
    visit.end()
    assert visit.plan()["stabilization"]["verdict"] == "ready"
    assert visit.outcomes(visit.revert(choice="all")) == {"stabilization": "undone"}
    assert visit.world.hashes() == own
    assert visit.plan()["stabilization"]["verdict"] == "undone"


def test_settings_of_an_environment_go_back_and_its_secret_cannot(visit: Visit) -> None:
    """No session comes to these through a page; a rule that lets one in must not make them stay."""
    production, tenant_id = visit.world.production, visit.cast.tenant.pk
    was = settings_now(visit)
    with inside(visit.session):
        environments.update_environment(tenant_id=tenant_id, environment_id=production.pk, name="Prod", position=7)
        environments.update_environment(tenant_id=tenant_id, environment_id=production.pk, api_key="another-key")
        made = environments.create_environment(
            tenant_id=tenant_id, name="Backdoor", kind="dev", base_url=visit.world.source.base_url, api_key="k"
        )
    visit.end()
    items = {item["name"]: item for item in visit.api(None, "get").json()["items"]}
    assert "secret that the trail does not keep" in items["Prod"]["why"]
    done = visit.revert(choice="all")
    assert done.result["counts"] == {"undone": 2}, done.result
    with tenant_scope(tenant_id):
        gone = Environment.objects.get(pk=made.pk)
        assert gone.is_archived and not gone.api_key_encrypted
        assert Environment.objects.get(pk=production.pk).name == "Production"
    assert [e for e in settings_now(visit)["environments"] if e[0] != "Backdoor"] == was["environments"]


class Crash(BaseException):
    """The worker is gone."""


def test_killed_at_any_step_and_begun_again_it_ends_the_same(visit: Visit) -> None:
    was, hashes = settings_now(visit), visit.world.hashes()
    misbehave(visit)
    visit.end()
    answer = visit.api(None, "post", all=True)
    assert answer.status_code == 202, answer.content
    operation_id, deaths = visit.last().pk, 0

    def die(boundary: str) -> None:
        nonlocal deaths
        if boundary.startswith("undo:") and boundary.endswith(("after-intent", "after-effect")):
            met.add(boundary)
            if boundary not in survived:
                survived.add(boundary)
                deaths += 1
                raise Crash

    met: set[str] = set()
    survived: set[str] = set()
    boundary_observers.append(die)
    try:
        for _ in range(40):
            with tenant_scope(visit.cast.tenant.pk):
                Operation.objects.filter(status="RUNNING").update(lease_expires_at="2020-01-01T00:00:00Z", attempt=0)
            try:
                if engine.drive(operation_id=operation_id, tenant_id=visit.cast.tenant.pk) == "COMPLETED":
                    break
            except Crash:
                continue
    finally:
        boundary_observers.clear()
    done = visit.last()
    assert deaths == 14 and done.result["counts"] == {"undone": 7}, (deaths, done.result)
    now = settings_now(visit)
    now["places"] = [place for place in now["places"] if place[1] != MapStatus.DELETED]
    assert now == was and visit.world.hashes() == hashes
    with tenant_scope(visit.cast.tenant.pk):
        assert Operation.objects.filter(kind__in=["promotions.rollback", SESSION_RESTORE]).count() == 2


def test_who_may_and_when(visit: Visit) -> None:
    visit.post("drift/policy/", **LAX)
    assert visit.client.get(visit.revert_url).status_code == 403  # in the session itself
    inside_url = f"/t/acme/support/sessions/{visit.session.pk}/revert/"
    assert visit.client.get(inside_url).status_code == 403
    data = {"typed": visit.cast.tenant.name, "choice": "all"}
    early = at_browser(visit.cast.admin).post(visit.revert_url, data)
    assert early.status_code == 409 and "IMP_011" in early.content.decode()
    visit.end()
    for who in ("support", "officer", "operator", "viewer", "approver", "stranger"):
        user = getattr(visit.cast, who)
        assert at_browser(user).post(visit.revert_url, data).status_code == 403, who
        assert at_browser(user).post(inside_url, data).status_code in (403, 404), who
        assert visit.api(user, "post", all=True).status_code in (403, 404), who
        assert visit.api(user, "get").status_code in (403, 404), who
    elsewhere = f"/t/umbrella/support/sessions/{visit.session.pk}/revert/"
    assert at_browser(visit.cast.stranger).get(elsewhere).status_code == 404
    wrong = at_browser(visit.cast.owner).post(inside_url, {**data, "typed": "acme"})
    assert wrong.status_code == 422
    nothing = visit.api(visit.cast.owner, "post", items=["drift_policies:00000000-0000-0000-0000-000000000000"])
    assert nothing.status_code == 422
    assert settings_now(visit)["policy"] == (False, 900)
    assert at_browser(visit.cast.owner).post(inside_url, data).status_code == 302
    visit.run_operations(visit.cast.tenant)
    assert settings_now(visit)["policy"] == (True, 168)
    again = at_browser(visit.cast.owner).post(inside_url, data)
    assert again.status_code == 422 and "None of the chosen items" in again.content.decode()
