"""The pages and the API: what people and programs see, and what they may not."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from core import clock
from drift import services as drift
from drift.models import DriftIncident
from operations import engine
from operations import services as operation_services
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.errors import DriftBlocks
from promotions.models import Promotion
from promotions.planning import drift_incidents, gates
from promotions.planning.gate_facts import load_gate_facts
from promotions.reading import presenters
from promotions.reading.comparison import compare
from promotions.tests.world import World, flow, node, uses
from tenants import tokens
from tenants.scope import tenant_scope
from tests.reading import flat
from workflows.models import Environment, WorkflowEnvMap

REAL_DRIFT = drift_incidents.blocking_incidents


def browser(person: Any, world: World) -> Client:
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_the_story_in_pages(world: World, base: str) -> None:
    operator, approver = browser(world.cast.operator, world), browser(world.cast.approver, world)
    page = operator.get(f"{base}new/?source=staging&target=production")
    assert page.status_code == 200 and b"Billing" in page.content and b"Only in Staging" in page.content
    chosen = {"source": "staging", "target": "production", "selected": ["billing", "intake", "same"], "active": "keep"}
    made = operator.post(f"{base}new/", chosen)
    assert made.status_code == 302
    address = made["Location"]
    page = operator.get(address)
    assert page.status_code == 200 and b"Ask for approval" in page.content and b"called by intake" in page.content
    assert operator.post(address, {"action": "submit"}).status_code == 302
    assert b"Approve" not in operator.get(address).content.split(b"<main")[1].split(b"Gates")[0]
    assert b"Approve" in approver.get(address).content
    with tenant_scope(world.tenant_id):
        promotion = Promotion.objects.get()
    assert approver.post(address, {"action": "approve", "plan_hash": promotion.plan_hash}).status_code == 302
    assert operator.post(address, {"action": "execute", "typed": "production"}).status_code == 422
    assert operator.post(address, {"action": "execute", "typed": "Production"}).status_code == 302
    running = operator.get(address)
    assert b"data-live" in running.content
    fresh = world.fresh(promotion)
    with tenant_scope(world.tenant_id):
        operation = Operation.objects.get(pk=fresh.operation_id)
    world.drive(operation)
    done = operator.get(address)
    assert b"Proof" in done.content and b"Roll back" in done.content and b"Equal" in done.content
    said = flat(done.content)
    assert "Changed “Billing” and added “Helper” and “Intake” in Production, as in Staging." in said
    assert "3 promoted as wanted, 2 others unchanged" in said
    job = operator.get(f"/t/{world.cast.tenant.slug}/jobs/{operation.pk}/").content
    assert "3 workflows promoted, each read back." in flat(job), "what was the same already was not"
    assert operator.get(f"{address}?part=live")["HX-Retarget"] == "#content"
    assert (
        operator.post(address, {"action": "rollback", "reason": "Regression", "typed": "Production"}).status_code == 302
    )
    listed = operator.get(base)
    assert listed.status_code == 200 and b"2 workflows" not in listed.content[:10]


def test_a_failed_one_shows_what_was_put_back(world: World, base: str) -> None:
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/")
    world.carry_out(promotion)
    page = browser(world.cast.viewer, world).get(f"{base}{promotion.pk}/")
    assert b"The target is as it was before" in page.content and b"PROMO_002" in page.content
    assert b"Roll back" not in page.content
    said = unescape(flat(page.content))
    assert re.search(r"Update Billing: n8n refused", said.split("Rolled back by the console")[0]), (
        "it names what failed"
    )
    assert "Was to change “Billing” and add “Helper” and “Intake” in Production, as in Staging. It failed;" in said
    changes = said.split('aria-label="Workflows"')[1].split("</table>")[0]
    billing, helper, intake = changes.split('<th scope="row">')[1:]
    assert "Failed" in billing and "n8n refused the request" in billing
    assert all("As before" in row for row in (billing, helper, intake)), "no hash of what is not there"
    assert "Failed" not in helper + intake


def test_while_it_restores_it_says_so_and_where_each_workflow_is(world: World, base: str) -> None:
    promotion, viewer = world.approved("billing", "intake"), browser(world.cast.viewer, world)
    shown: dict[str, str] = {}

    def look(boundary: str) -> None:
        if boundary in {
            "promote:write:helper:after-intent", "promote:write:billing:before-intent",
            "undo:write:helper:after-intent", "undo:prove:after-effect",
        }:  # fmt: skip
            shown[boundary] = unescape(flat(viewer.get(f"{base}{promotion.pk}/?part=live").content))

    def stages(boundary: str) -> dict[str, str]:
        listed = shown[boundary].split('aria-label="Workflows"')[1].split("</ul>")[0]
        rows = re.findall(r"<li.*?</li>", listed)
        words = [re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", "", row)).split() for row in rows]
        return {name: " ".join(row) for row in words for name in ("Billing", "Helper", "Intake") if name in row}

    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/")
    boundary_observers.append(look)
    assert world.drive(world.start(promotion)) == "FAILED"
    boundary_observers.clear()
    assert stages("promote:write:helper:after-intent") == {
        "Helper": "Writing Helper", "Billing": "Waiting Billing", "Intake": "Waiting Intake",
    }  # fmt: skip
    assert stages("promote:write:billing:before-intent")["Intake"] == "Written Intake"
    back = stages("undo:write:helper:after-intent")
    assert back["Helper"] == "Deleting Helper" and back["Billing"].startswith("Failed Billing n8n refused")
    assert stages("undo:prove:after-effect")["Helper"] == "Deleted Helper"
    for boundary, said in shown.items():
        goes_back = boundary.startswith("undo:")
        assert ("Rolling back" in said.split('id="promotion-state"')[1]) == goes_back, boundary
        assert not (goes_back and re.search("Writing|Creating", said)), boundary
        assert "Intent" not in said, "a step that is under way is said to be"
    assert "Restoring workflows" in shown["undo:write:helper:after-intent"]
    assert "Reading the target back" in shown["undo:prove:after-effect"]


def test_a_rollback_says_who_and_when(world: World, base: str) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    operation = services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver, reason="Back."
    )
    assert world.drive(operation) == "COMPLETED"
    page = browser(world.cast.viewer, world).get(f"{base}{promotion.pk}/").content.decode()
    said = page.split("<dt>By</dt>")[1].split("</dd>")[0]
    assert str(world.cast.approver) in said and "<time" in said


def test_approved_is_only_what_somebody_approved(world: World, base: str) -> None:
    assert Promotion(status="APPROVED").status_word == "Ready"
    assert Promotion(status="APPROVED", decided_at=clock.now()).status_word == "Approved"
    assert Promotion(status="PENDING_APPROVAL").status_word == "Waiting for approval"
    with tenant_scope(world.tenant_id):
        Environment.objects.filter(pk=world.production.pk).update(kind="development")
    promotion = world.draft("billing")
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    viewer, approver = browser(world.cast.viewer, world), browser(world.cast.approver, world)
    assert world.fresh(promotion).status == "APPROVED", "nobody has to"
    for address in (base, f"{base}{promotion.pk}/"):
        page = flat(viewer.get(address).content.decode().split("<main")[1])
        assert "Ready" in page and not re.search(r"Approved(?! for)", page), address
    assert "<dt>Approval</dt><dd>not needed</dd>" in page and "In the audit trail" not in page
    history = re.search(r'href="([^"]+)">In the audit trail', approver.get(f"{base}{promotion.pk}/").content.decode())
    assert history and "Drafted 1 workflow to Production" in flat(approver.get(history[1]).content)


def test_a_new_plan_leaves_the_failed_try_behind(world: World, base: str) -> None:
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/")
    world.carry_out(promotion)
    operator, address = browser(world.cast.operator, world), f"{base}{promotion.pk}/"
    assert b"Promote" in operator.get(address).content.split(b"<main")[1].split(b"Gates")[0]
    assert operator.post(address, {"action": "replan"}).status_code == 302
    fresh = operator.get(address).content
    assert (
        b"Draft" in fresh
        and b"It failed" not in fresh
        and b"Rolled back by the console" not in fresh
        and b"<dt>Ended" not in fresh
    )
    assert operator.post(address, {"action": "cancel"}).status_code == 302
    assert b'commandfor="execute"' not in operator.get(address).content, "it was withdrawn"
    refused = operator.post(address, {"action": "execute", "typed": "Production"})
    assert refused.status_code == 409 and world.fresh(promotion).status == "CANCELLED"


def test_one_that_was_asked_to_stop_says_so(world: World, base: str) -> None:
    promotion = world.approved("billing")
    operation, address = world.start(promotion), f"{base}{promotion.pk}/"
    viewer, operator = browser(world.cast.viewer, world), browser(world.cast.operator, world)
    assert b'commandfor="cancel"' in operator.get(address).content
    with tenant_scope(world.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(status="RUNNING", cancel_requested_at=clock.now())
    assert b'commandfor="cancel"' not in operator.get(address).content
    for query in ("", "?part=live"):
        assert b"the target is rolled back" in viewer.get(f"{address}{query}").content


def test_a_workflows_page_leads_to_its_promotions(world: World, base: str) -> None:
    promotion, other = world.draft("billing"), world.draft("intake")
    viewer = browser(world.cast.viewer, world)
    page = viewer.get(f"/t/{world.cast.tenant.slug}/workflows/billing/").content.decode()
    link = re.search(r'href="([^"]+/promotions/[^"]+)"', page)
    assert link is not None
    listed = viewer.get(unescape(link[1])).content.decode()
    assert str(promotion.pk) in listed and str(other.pk) not in listed


def test_a_comparison_says_what_drift_holds_back(world: World, base: str, no_drift: list[dict[str, Any]]) -> None:
    query = f"?source={world.staging.slug}&target={world.production.slug}"
    operator = browser(world.cast.operator, world)

    def page() -> str:
        return flat(operator.get(f"{base}new/{query}").content)

    assert "Blocked by drift" not in page()
    no_drift.append({"workflow_key": "elsewhere", "reason": "active_drift"})
    assert "Blocked by drift" not in page(), "it holds back nothing that could go"
    no_drift.append({"workflow_key": "billing", "reason": "active_drift"})
    assert "The others can go now." in page() and page().count("Held back by drift") == 1
    no_drift.append({"workflow_key": "elsewhere", "reason": "ttl_expired"})
    assert "1 drift incident in Production is past its time: nothing can be promoted" in page()


def diff_of(client: Client, address: str, **headers: str) -> str:
    """What the first *Diff* of a page leads to."""
    link = re.search(r'href="([^"]+)">Diff<', client.get(address, **headers).content.decode())  # type: ignore[arg-type]
    assert link is not None, address
    return client.get(unescape(link[1])).content.decode()


def test_a_diff_is_of_what_is_promoted_against_the_target(world: World, base: str) -> None:
    operator = browser(world.cast.operator, world)
    query = f"?source={world.staging.slug}&target={world.production.slug}"
    shown = diff_of(operator, f"{base}new/{query}&q=billing")
    assert re.search(r"Production, [a-z][^→<]* → Staging, [a-z]", shown)
    promotion = world.draft("billing")
    shown = diff_of(operator, f"{base}{promotion.pk}/")
    assert re.search(r"Production, [a-z][^→<]* → Staging, ", shown) and "New step" in shown
    world.source.edit(world.source.state()["workflows"][1]["id"], nodes=flow("Billing", node("Later"))["nodes"])
    world.capture(world.staging)
    shown = diff_of(operator, f"{base}{promotion.pk}/")
    assert "New step" in shown and "Later" not in shown, "what was planned, not what is there by now"


def test_the_diff_of_a_finished_promotion_is_before_and_after(world: World, base: str) -> None:
    operator = browser(world.cast.operator, world)
    promotion = world.carry_out(world.approved("billing"))
    world.capture()
    shown = diff_of(operator, f"{base}{promotion.pk}/")
    assert "New step" in shown and "Same content" not in shown
    assert re.search(r"Production, [^→<]* → Production, ", shown)


def test_a_new_workflow_can_be_looked_at_before_it_is_approved(world: World, base: str) -> None:
    operator, approver = browser(world.cast.operator, world), browser(world.cast.approver, world)
    query = f"?source={world.staging.slug}&target={world.production.slug}&q=helper"
    promotion = world.draft("helper")
    for address in (f"{base}new/{query}", f"{base}{promotion.pk}/"):
        assert "all of it is new" in diff_of(operator, address), address
    operator.post(f"{base}{promotion.pk}/", {"action": "submit"})
    dialog = approver.get(f"{base}{promotion.pk}/").content.decode().split('id="approve"')[1].split("</dialog>")[0]
    assert "Helper" in dialog


def test_typing_into_the_filter_swaps_the_list(world: World, base: str) -> None:
    operator = browser(world.cast.operator, world)
    query = f"{base}new/?source={world.staging.slug}&target={world.production.slug}"
    assert 'hx-target="#choose"' in operator.get(query).content.decode()
    headers = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "choose"}
    part = operator.get(f"{query}&q=bill&selected=intake", **headers).content.decode()  # type: ignore[arg-type]
    assert "<html" not in part and "Billing" in part and "Helper" not in part
    assert '<input type="hidden" name="selected" value="intake">' in part, "what was chosen stays chosen"


def test_a_comparison_shows_every_standing_incident_on_its_row(world: World, base: str) -> None:
    ident = next(raw["id"] for raw in world.target.state()["workflows"] if raw["name"] == "Same")
    with tenant_scope(world.tenant_id):
        place = WorkflowEnvMap.objects.get(environment=world.production, env_workflow_id=ident)
        DriftIncident.objects.create(
            tenant_id=world.tenant_id, workflow_env_map=place, kind="activation", severity="critical"
        )
    world.target.edit(ident, active=True)
    world.capture()
    operator = browser(world.cast.operator, world)
    query = f"{base}new/?source={world.staging.slug}&target={world.production.slug}"
    page = operator.get(f"{query}&state=equal").content.decode()
    row = page.split('<th scope="row">')[1]
    assert "Same content, published in Production" in row and "Published or unpublished" in row
    assert "as approved" not in row
    drifted = operator.get(f"{query}&state=drifted").content.decode()
    assert drifted.count('<th scope="row">') == 1


def test_a_refused_plan_keeps_what_was_chosen(world: World, base: str) -> None:
    asked = {"source": "production", "target": "staging", "require_approval": "1", "name": "Back again"}
    page = browser(world.cast.operator, world).post(f"{base}new/", asked)
    assert page.status_code == 422 and b'value="Back again"' in page.content
    assert re.search(rb'name="require_approval"[^>]* checked', page.content)


def test_mapping_a_credential_where_it_is_missing(empty_world: World) -> None:
    world = empty_world
    world.source.seed([flow("Notify", uses("Tell", "Slack staging", "s1"))])
    world.target.seed([flow("Seen", uses("Tell", "Slack production", "p1"))])
    world.capture()
    promotion = world.draft("notify")
    operator = browser(world.cast.operator, world)
    address = f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/"
    page = operator.get(address)
    assert b"Missing in the target" in page.content and b"Slack production" in page.content
    mapping = f"/t/{world.cast.tenant.slug}/promotions/credential/"
    sent = {
        "promotion": str(promotion.pk),
        "credential_type": "slackApi",
        "source_name": "Slack staging",
        "source_credential_id": "s1",
    }
    nothing = operator.post(mapping, sent, follow=True)
    assert nothing.status_code == 200 and b"Nothing was mapped" in nothing.content
    answer = operator.post(mapping, {**sent, "target_credential": "p1"})
    assert answer.status_code == 302
    assert b"Missing in the target" not in operator.get(address).content
    assert (world.fresh(promotion).plan or {})["dangling"] == []


def test_who_may_see_and_act(world: World, base: str) -> None:
    promotion = world.draft("billing")
    address = f"{base}{promotion.pk}/"
    assert browser(world.cast.viewer, world).get(address).status_code == 200
    assert browser(world.cast.viewer, world).post(address, {"action": "submit"}).status_code == 403
    assert browser(world.cast.stranger, world).get(address).status_code == 404
    assert browser(world.cast.stranger, world).get(base).status_code == 404


def test_the_list_does_not_ask_more_for_more(world: World, base: str, django_assert_max_num_queries: Any) -> None:
    for _ in range(12):
        world.draft("billing")
    operator = browser(world.cast.operator, world)
    operator.get(base)
    with django_assert_max_num_queries(22):
        page = operator.get(base)
    assert page.status_code == 200


def bearer(person: Any, tenant: Any) -> dict[str, str]:
    _row, secret = tokens.create_token(user=person, tenant=tenant, name="test")
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


def test_over_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_incidents, "blocking_incidents", REAL_DRIFT)
    client, api = Client(), "/api/v1/promotions"
    operator, approver = bearer(world.cast.operator, world.cast.tenant), bearer(world.cast.approver, world.cast.tenant)
    stranger = bearer(world.cast.stranger, world.cast.other_tenant)
    query = f"?source_env_id={world.staging.pk}&target_env_id={world.production.pk}"
    compared = client.get(f"{api}/compare{query}", **operator).json()
    assert compared["blocking_drift_incidents"] == []
    assert {w["key"]: w["state"] for w in compared["workflows"]}["billing"] == "differs"
    assert client.get(f"{api}/compare{query}", **stranger).status_code == 404
    body = {
        "source_environment_id": str(world.staging.pk),
        "target_environment_id": str(world.production.pk),
        "workflow_keys": ["billing"],
        "submit": True,
    }
    made = client.post(api, body, content_type="application/json", **operator)
    assert made.status_code == 201, made.content
    found = made.json()["promotion"]
    assert found["status"] == "PENDING_APPROVAL"
    refused = client.post(f"{api}/execute/{found['id']}", **operator)
    assert refused.status_code == 409 and refused.json()["error"]["code"] == "PROMO_009"
    own = client.post(f"{api}/{found['id']}/approve", content_type="application/json", **operator)
    assert own.status_code == 403
    approved = client.post(f"{api}/{found['id']}/approve", content_type="application/json", **approver)
    assert approved.json()["promotion"]["status"] == "APPROVED"
    started = client.post(f"{api}/execute/{found['id']}?wait=0", HTTP_IDEMPOTENCY_KEY="k1", **operator)
    assert started.status_code == 202, started.content
    again = client.post(f"{api}/execute/{found['id']}?wait=0", HTTP_IDEMPOTENCY_KEY="k1", **operator)
    assert again.json()["operation"]["id"] == started.json()["operation"]["id"]
    with tenant_scope(world.tenant_id):
        operation = Operation.objects.get(pk=started.json()["operation"]["id"])
    assert world.drive(operation) == "COMPLETED"
    told = client.get(f"{api}/{found['id']}", **operator).json()["promotion"]
    assert told["status"] == "COMPLETED" and told["execution_result"]["snapshot_ids"]["post_promotion"]
    with tenant_scope(world.tenant_id):
        from drift.models import DriftIncident

        assert not DriftIncident.objects.exists()
    rolled = client.post(
        f"{api}/{found['id']}/rollback?wait=0",
        {"force": True, "snapshot_id": told["execution_result"]["snapshot_ids"]["pre_promotion"]},
        content_type="application/json",
        **operator,
    )
    assert rolled.status_code == 202, rolled.content
    listed = client.get(f"{api}?tenant={world.cast.tenant.slug}&status=completed&limit=5", **operator).json()
    assert [row["id"] for row in listed["promotions"]] == [found["id"]]
    assert client.get(f"{api}/{found['id']}", **stranger).status_code == 404


def test_a_promotion_that_failed_answers_as_its_error_over_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_services, "wake", lambda **given: engine.drive(**given))
    operator, api = bearer(world.cast.operator, world.cast.tenant), "/api/v1/promotions"
    promotion = world.approved("billing")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1, times=1)
    answer = Client().post(f"{api}/execute/{promotion.pk}", **operator)
    told = answer.json()
    assert (answer.status_code, told["error"]["code"]) == (502, "PROMO_002"), told
    assert told["operation"]["status"] == "FAILED"
    assert told["promotion"]["status"] == "FAILED"
    assert told["promotion"]["execution_result"]["rollback_result"]["status"] == "success"


def test_a_rollback_that_is_refused_answers_as_its_error_over_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_services, "wake", lambda **given: engine.drive(**given))
    operator, api = bearer(world.cast.operator, world.cast.tenant), "/api/v1/promotions"
    promotion = world.approved("billing")
    assert Client().post(f"{api}/execute/{promotion.pk}", **operator).status_code == 200
    billing = world.by_name()["Billing"]["id"]
    world.target.edit(billing, nodes=[*flow("Billing")["nodes"], node("Theirs")])
    answer = Client().post(f"{api}/{promotion.pk}/rollback", {}, content_type="application/json", **operator)
    told = answer.json()
    assert (answer.status_code, told["error"]["code"]) == (409, "PROMO_013"), told
    assert told["promotion"]["status"] == "COMPLETED" and told["operation"]["status"] == "FAILED"


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": 5},
        {"options": [1]},
        {"options": {"include_required": "false"}},
        {"workflow_keys": "billing"},
        {"workflow_keys": [5]},
        {"name": {"a": 1}},
        {"submit": "perhaps"},
        {"target_environment_id": "production"},
        {"source_environment_id": None},
    ],
)
def test_what_rest_cannot_use_is_named_and_nothing_is_made(world: World, wrong: dict[str, Any]) -> None:
    client, operator = Client(), bearer(world.cast.operator, world.cast.tenant)
    body = {
        "source_environment_id": str(world.staging.pk),
        "target_environment_id": str(world.production.pk),
        "workflow_keys": ["billing"],
        **wrong,
    }
    refused = client.post("/api/v1/promotions", body, content_type="application/json", **operator)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "INVALID"), refused.content
    listed = client.get(f"/api/v1/promotions?tenant={world.cast.tenant.slug}", **operator).json()
    assert listed["promotions"] == []


def test_a_filter_that_is_none_is_refused(world: World) -> None:
    client, operator = Client(), bearer(world.cast.operator, world.cast.tenant)
    for call in ("promotions?status=runing", "operations?state=runing", "background-jobs?state=runing"):
        answer = client.get(f"/api/v1/{call}&tenant={world.cast.tenant.slug}", **operator)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID"), call
        assert "running" in answer.json()["error"]["recovery"].lower()


def test_an_address_that_is_none_answers_a_program_in_json(client: Client, db: None) -> None:
    assert client.get("/api/v1/nothing").json()["error"]["code"] == "NOT_FOUND"
    assert b"<html" in client.get("/nothing").content


def test_what_nobody_has_tested_is_not_drawn_as_good(empty_world: World) -> None:
    world = empty_world
    world.source.seed([flow("Notify", uses("Tell", "Slack", "s1"))])
    world.target.seed([flow("Seen", uses("Tell", "Slack", "p1"))])
    world.capture()
    promotion = world.draft("notify")
    facts = load_gate_facts(tenant_id=world.tenant_id, promotion_id=promotion.pk)
    found = {g.name: g for g in gates.all_gates(facts)}
    assert found["credentials"].state == "unknown" and "not tested" in found["credentials"].why


def test_a_red_gate_is_named_where_approval_is_asked_for_and_given(
    world: World, base: str, no_drift: list[dict[str, Any]]
) -> None:
    promotion = world.draft("billing")
    address = f"{base}{promotion.pk}/"
    operator, approver = browser(world.cast.operator, world), browser(world.cast.approver, world)
    incident = {"id": "x", "workflow_key": "billing", "workflow_name": "Billing", "reason": "active_drift"}
    no_drift.append(incident)
    page = operator.get(address).content.decode()
    assert re.search(r"<button[^>]* disabled[^>]*>Ask for approval", page) and "block promotions: Billing" in page
    assert DriftBlocks.recovery in unescape(page), "and the way out"
    no_drift.clear()
    operator.post(address, {"action": "submit"})
    no_drift.append(incident)
    dialog = approver.get(address).content.decode().split('id="approve"')[1].split("</dialog>")[0]
    assert "It cannot run before this is settled" in dialog and "block promotions: Billing" in dialog


async def heard_of(client: Any, address: str) -> tuple[int, str]:
    """The first news that a stream tells, as its status and text."""
    answer = await client.get(address)
    if answer.status_code != 200:
        return answer.status_code, ""
    async for part in answer.streaming_content:
        if b"event: ready" not in part:
            return 200, part.decode()
    return 200, ""


def live_part(page: bytes) -> tuple[str, str]:
    """Where the part that waits for news listens, and what it asks for once it has heard."""
    found = re.search(r'data-live="([^"]+)" data-live-page hx-get="([^"]+)"', flat(page))
    assert found is not None
    return unescape(found[1]), unescape(found[2])


@pytest.mark.django_db(transaction=True)
def test_a_decision_reaches_the_page_that_waits_for_it(world: World, base: str, async_client: Any) -> None:
    promotion = world.draft("billing")
    address = f"{base}{promotion.pk}/"
    operator, approver = browser(world.cast.operator, world), browser(world.cast.approver, world)
    operator.post(address, {"action": "submit"})
    listens, asks = live_part(operator.get(address).content)
    assert operator.get(asks).status_code == 204, "nothing has happened"
    plan_hash = world.fresh(promotion).plan_hash
    assert approver.post(address, {"action": "approve", "plan_hash": plan_hash}).status_code == 302

    async def listen(user: Any) -> tuple[int, str]:
        await async_client.aforce_login(user)
        return await heard_of(async_client, listens)

    status, told = asyncio.run(listen(world.cast.operator))
    assert status == 200 and "event: changed" in told
    fresh = operator.get(asks)
    assert fresh["HX-Retarget"] == "#content" and b'commandfor="execute"' in fresh.content
    assert live_part(fresh.content)[0] != listens, "it listens from what it shows now"
    assert asyncio.run(listen(world.cast.stranger))[0] == 404


def test_a_withdrawn_one_waits_for_nothing(world: World, base: str) -> None:
    promotion = world.draft("billing")
    operator = browser(world.cast.operator, world)
    operator.post(f"{base}{promotion.pk}/", {"action": "cancel"})
    assert b"data-live-page" not in operator.get(f"{base}{promotion.pk}/").content


def test_accepted_drift_of_the_target_is_not_counted_as_drift(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    billing = next(row["id"] for row in world.target.state()["workflows"] if row["name"] == "Billing")
    world.target.edit(billing, nodes=flow("Billing", node("Hotfix"))["nodes"])
    world.capture(world.production)
    asked = {"tenant_id": world.tenant_id, "source_id": world.staging.pk, "target_id": world.production.pk}
    assert compare(**asked).counts.drifted == 1
    with tenant_scope(world.tenant_id):
        standing = DriftIncident.objects.get(incident_state="OPEN", workflow_env_map__environment=world.production)
    drift.close(tenant_id=world.tenant_id, incident_id=standing.pk, resolution_type="accepted", by=world.cast.approver)
    assert compare(**asked).counts.drifted == 0


def test_a_rolled_back_one_shows_what_the_rollback_proved(world: World, base: str) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    operation = services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, reason="Regression"
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    page = browser(world.cast.viewer, world).get(f"{base}{promotion.pk}/").content.decode()
    record, _, folded = page.partition('<details class="stack">')
    folded, _, after = folded.partition("</details>")
    who = re.search(r"<dt>By</dt>\s*<dd>([^<]*), <time", record)
    assert who and who[1].strip() == str(world.cast.operator), "who took it back, and when"
    assert "1 as before by hash, 2 deleted" in record and f"/jobs/{operation.pk}/" in record
    assert re.search(r"<dt>Deleted</dt><dd>\s*Helper, Intake", record) and "Regression" in record
    assert "promoted as wanted" in folded and "promoted as wanted" not in record + after
    assert "Equal" not in after and after.count("Deleted") == 2 and "As before" in after
    assert "It was rolled back: Production is as before." in flat(page)


def test_a_second_run_leaves_the_first_ones_failure_to_be_seen(world: World, base: str) -> None:
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    failed = world.carry_out(promotion)
    done = world.carry_out(promotion)
    assert (failed.status, done.status) == ("FAILED", "COMPLETED")
    page = flat(browser(world.cast.viewer, world).get(f"{base}{promotion.pk}/").content)
    listed = page.split("<h2>Jobs")[1].split("<h2>Details")[0]
    assert listed.find(f"/jobs/{done.operation_id}/") < listed.find(f"/jobs/{failed.operation_id}/") != -1
    assert "Completed" in listed and "Failed" in listed and str(world.cast.operator) in listed
    assert (failed.execution_result or {})["error"]["message"] in unescape(listed)


def test_programs_cannot_ask_for_approval_over_a_red_gate(world: World, no_drift: list[dict[str, Any]]) -> None:
    promotion = world.draft("billing")
    no_drift.append({"id": "1", "workflow_name": "Billing"})
    address = f"/api/v1/promotions/{promotion.pk}/submit"
    refused = Client().post(address, **bearer(world.cast.operator, world.cast.tenant))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "PROMO_003"), refused.content
    no_drift.clear()
    asked = Client().post(address, **bearer(world.cast.operator, world.cast.tenant))
    assert asked.json()["promotion"]["status"] == "PENDING_APPROVAL"


def test_a_rollback_that_came_half_way_is_shown_as_such(world: World, base: str) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    world.target.fault(kind="status", status=400, method="DELETE", path="/workflows/")
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "FAILED"
    viewer = browser(world.cast.viewer, world)
    page = viewer.get(f"{base}{promotion.pk}/").content.decode()
    told, _, rest = page.partition('<details class="stack">')
    folded, _, after = rest.partition("</details>")
    assert (
        "may hold a mix of old and new" in told and "PROMO_005" in told and "2 not as before" in " ".join(told.split())
    )
    assert "promoted as wanted" in folded and "promoted as wanted" not in told + after
    assert len(re.findall("Not as before(?! the)", after)) == 2
    assert after.count("As before") == 1 and "Equal" not in after
    with tenant_scope(world.tenant_id):
        Operation.objects.create(
            tenant_id=world.tenant_id, kind="promotions.rollback", title="Roll back", status="FAILED",
            subject_type="promotion", subject_id=promotion.pk, requested_by=world.cast.approver,
        )  # fmt: skip
    record = viewer.get(f"{base}{promotion.pk}/").content.decode().split("<dt>By</dt>")[1].split("</dd>")[0]
    assert str(world.cast.operator) in record and str(world.cast.approver) not in record, "not who was refused later"
    assert "Needs attention" in viewer.get(base).content.decode()


def test_all_of_a_large_plan_can_be_read(world: World, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presenters, "ROWS_SHOWN", 2)
    address, approver = f"{base}{world.draft('billing', 'intake').pk}/", browser(world.cast.approver, world)
    first = flat(approver.get(address).content)
    assert "2 of 3 are shown." in first and first.count('class="review"') == 2
    whole = approver.get(f"{address}?workflows=all").content
    assert flat(whole).count('class="review"') == 3 and "are shown" not in flat(whole)
    assert "workflows=all" in live_part(whole)[1], "it stays so when somebody decides"


def test_drift_and_a_draft_in_the_source_are_said(world: World, base: str) -> None:
    ident = next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Billing")
    world.source.edit(ident, nodes=flow("Billing", node("By hand"))["nodes"])
    world.source.edit(ident, draft=True, nodes=flow("Billing", node("Unfinished"))["nodes"])
    world.capture()
    page = flat(browser(world.cast.approver, world).get(f"{base}{world.draft('billing').pk}/").content)
    with tenant_scope(world.tenant_id):
        incidents = DriftIncident.objects.filter(workflow_env_map__environment=world.staging)
        links = [f"/drift/{pk}/" for pk in incidents.values_list("pk", flat=True)]
    gates = page.split("<h2>Gates")[1].split("<h2>Details")[0]
    assert links and all(link in gates for link in links), "each leads to its incident"
    assert "The source&#x27;s editor holds a draft, which is not promoted." in page.split("<h2>Gates")[0]


def test_whoever_decides_reads_every_line_on_the_page(world: World, base: str) -> None:
    promotion = world.draft("billing", "intake")
    approver = browser(world.cast.approver, world)
    page = unescape(approver.get(f"{base}{promotion.pk}/").content.decode())
    addresses = re.findall(r'hx-get="([^"]+\?part=text)"', page)
    assert len(addresses) == 3, "what billing calls moves with it"
    versions = re.findall(r'href="([^"]+/diff/[^"]+)"', page)
    assert versions and not any("left=production" in address for address in versions), "addresses that stay true"
    for address in addresses:
        part = approver.get(address)
        said = part.content.decode()
        assert part.status_code == 200 and "<html" not in said and "data-change" in said
    assert browser(world.cast.stranger, world).get(addresses[0]).status_code == 404
