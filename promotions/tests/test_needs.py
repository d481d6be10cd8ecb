"""What a workflow stands on in the target: found wherever it hides, mapped, warned of or refused with a way out."""

from __future__ import annotations

import contextlib
import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from core import crypto
from core.errors import Forbidden
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.errors import NotOffered, SecretsLacking
from promotions.job_summaries import prepared
from promotions.models import Promotion, PromotionStatus
from promotions.permissions import require_prepare
from promotions.planning import gates, needs
from promotions.planning.documents import PlanItem, ScopeCheck, read_plan
from promotions.planning.inputs import (
    EnvironmentState,
    PlanInputs,
    ResourceIndex,
    WorkflowState,
    hosts_of,
    load_inputs,
)
from promotions.planning.mapping import map_workflow
from promotions.planning.offers import offers_of
from promotions.tests.world import World, calls, flow, node, uses
from tenants.pages import open_visit
from tenants.scope import tenant_scope
from workflows import identity
from workflows.credentials import CredentialPair, save_mapping
from workflows.models import Environment, EnvironmentSurroundings, KnownCredential
from workflows.permissions import OPERATE_ENVIRONMENT, set_environment_grants
from workflows.stubs import placeholder
from workflows.surroundings import Column, DataTable, Package, Surroundings, Variable


class Died(BaseException):
    """As if the worker had been killed."""


ALERTS = DataTable("DTsrc0000000001", "Alerts", (Column("msg", "string"), Column("n", "number")))


def environment(name: str, url: str = "https://n8n.example") -> Any:
    return SimpleNamespace(pk=uuid.uuid4(), name=name, slug=name.lower(), base_url=url)


def facts(source: Surroundings | None = None, target: Surroundings | None = None, **more: Any) -> PlanInputs:
    here, there = source or Surroundings(), target or Surroundings()
    return PlanInputs(
        source=EnvironmentState(environment("Staging"), {}, None),
        target=EnvironmentState(environment("Production"), {}, None),
        resources=ResourceIndex(
            known={("dataTable", t.name): (t.id,) for t in there.data_tables or ()},
            source_names={("dataTable", t.id): (t.name,) for t in here.data_tables or ()},
        ),
        source_surroundings=here,
        target_surroundings=there,
        **more,
    )


def judged(content: dict[str, Any], found: PlanInputs, **more: Any) -> tuple[Any, needs.NeedsVerdict]:
    mapped = map_workflow(content, inputs=found, workflow_ids={}, keys={})
    verdict = needs.judge(content, mapped, found, hosts=more.get("hosts", {}), ids=more.get("ids", {}))
    verdict.dangling[:0] = mapped.dangling
    return mapped, verdict


def table(value: str, mode: str = "list", **extra: Any) -> dict[str, Any]:
    locator = {"__rl": True, "mode": mode, "value": value, "cachedResultName": "Alerts"}
    return node("Rows", "n8n-nodes-base.dataTable", parameters={"operation": "get", "dataTableId": locator}, **extra)


def test_a_data_table_becomes_the_targets_of_the_same_name() -> None:
    there = DataTable("DTtgt", "Alerts", ALERTS.columns)
    found = facts(Surroundings(data_tables=(ALERTS,)), Surroundings(data_tables=(there,)))
    mapped, verdict = judged(flow("W", table(ALERTS.id)), found)
    assert not verdict.dangling
    assert mapped.content["nodes"][1]["parameters"]["dataTableId"]["value"] == "DTtgt"
    assert mapped.data_tables[0].target_id == "DTtgt"


@pytest.mark.parametrize(
    ("there", "reason", "offer"),
    [
        ((), "missing_in_target", "create_data_table"),
        ((DataTable("T", "Alerts", (Column("msg", "string"),)),), "columns_missing", "create_columns"),
        ((DataTable("T", "Alerts", (Column("msg", "string"), Column("n", "date"))),), "columns_differ", None),
        (None, "not_listed", None),
    ],
)
def test_a_data_table_that_does_not_fit_is_a_gate_with_an_offer(
    there: tuple[DataTable, ...] | None, reason: str, offer: str | None
) -> None:
    found = facts(Surroundings(data_tables=(ALERTS,)), Surroundings(data_tables=there))
    _mapped, verdict = judged(flow("W", table(ALERTS.id)), found)
    [gap] = verdict.dangling
    assert (gap.kind, gap.reason) == ("data_table", reason)
    assert (gap.offer.do if gap.offer else None) == offer


def test_a_data_table_by_name_is_looked_for_and_a_disabled_node_needs_none() -> None:
    found = facts(Surroundings(data_tables=(ALERTS,)), Surroundings(data_tables=()))
    assert [g.value for g in judged(flow("W", table("Alerts", "name")), found)[1].dangling] == ["Alerts"]
    _mapped, verdict = judged(flow("W", table(ALERTS.id, disabled=True)), found)
    assert not verdict.dangling and [w.code for w in verdict.warnings] == ["unused_reference"]


def variable(name: str) -> dict[str, Any]:
    return node("Set", parameters={"value": f"={{{{ $vars.{name} }}}}"})


@pytest.mark.parametrize(
    ("here", "there", "gate", "code"),
    [
        ((Variable("A", "1"),), (), True, None),
        ((Variable("A", "1"),), (Variable("A", "2"),), False, "variable_differs"),
        ((Variable("A", "1"),), (Variable("A", "1"),), False, None),
        ((), (), False, "variable_empty"),
        ((Variable("A", "1"),), None, False, "variable_unseen"),
    ],
)
def test_a_variable_is_there_differs_or_is_missing(here: Any, there: Any, gate: bool, code: str | None) -> None:
    found = facts(Surroundings(variables=here), Surroundings(variables=there, why={"variables": "Not on this plan."}))
    _mapped, verdict = judged(flow("W", variable("A")), found)
    assert bool(verdict.dangling) is gate
    assert [w.code for w in verdict.warnings] == ([code] if code else [])


def test_packages_hosts_environment_and_ids_in_texts_are_seen() -> None:
    content = flow(
        "W",
        node("Odd", "n8n-nodes-fancy.thing", typeVersion=2),
        node("Ask", "n8n-nodes-base.httpRequest", parameters={"url": "https://dev.example/api/v1/x"}),
        node("Code", "n8n-nodes-base.code", parameters={"jsCode": "return $env.REGION + 'AbCdEf0123456789'"}),
    )
    known = facts(Surroundings(), Surroundings(packages=()))
    _mapped, verdict = judged(
        content, known, hosts={"dev.example": "Development"}, ids={"AbCdEf0123456789": "the workflow “Sub”"}
    )
    assert [(g.kind, g.value) for g in verdict.dangling] == [("package", "n8n-nodes-fancy")]
    assert sorted(w.code for w in verdict.warnings) == ["env_variable", "foreign_host", "id_in_text"]
    here = Surroundings(packages=(Package("n8n-nodes-fancy", "1.1.0"),))
    there = Surroundings(packages=(Package("n8n-nodes-fancy", "1.0.0", ("n8n-nodes-fancy.thing",)),))
    assert [w.code for w in judged(flow("W", content["nodes"][1]), facts(here, there))[1].warnings] == [
        "package_version"
    ]
    unseen = facts(Surroundings(), Surroundings())
    assert [w.code for w in judged(flow("W", content["nodes"][1]), unseen)[1].warnings] == ["package_unseen"]
    seen = facts(Surroundings(), Surroundings(), target_node_types=frozenset({"n8n-nodes-fancy.thing"}))
    assert not judged(flow("W", content["nodes"][1]), seen)[1].warnings


def test_a_host_that_is_the_targets_own_is_no_foreign_one() -> None:
    sides = [environment("Dev", "https://dev.example"), environment("Prod", "https://prod.example/n8n/")]
    assert hosts_of(sides, sides[1]) == {"dev.example": "Dev"}


def broken() -> dict[str, Any]:
    content = flow("W", node("A"))
    content["connections"]["A"] = {"main": [[{"node": "Gone", "type": "main", "index": 0}]]}
    content["connections"]["Nobody"] = {"main": [[{"node": "A", "type": "main", "index": 0}]]}
    return content


def test_what_n8n_refuses_is_a_gate_where_it_checks_and_can_be_repaired() -> None:
    strict = Surroundings(checks_structure=True)
    _mapped, verdict = judged(broken(), facts(target=strict))
    assert {(g.kind, g.offer and g.offer.do) for g in verdict.dangling} == {("structure", "repair")}
    mapped, verdict = judged(broken(), facts(target=strict, repairs=True))
    assert not verdict.dangling and {w.code for w in verdict.warnings} == {"repaired"}
    assert mapped.content["connections"].keys() == {"Hook", "A"}
    assert mapped.content["connections"]["A"] == {"main": [[]]}
    assert not judged(broken(), facts())[1].dangling  # an older n8n takes it


def test_a_form_without_an_id_is_given_one_before_n8n_does() -> None:
    """Otherwise what n8n holds afterwards is not what was approved."""
    content = flow("Sign up", node("Form", "n8n-nodes-base.formTrigger", parameters={"options": {}}))
    strict = Surroundings(checks_structure=True)
    _mapped, verdict = judged(content, facts(target=strict))
    assert [(g.value, g.offer and g.offer.do) for g in verdict.dangling] == [("no_webhook_id", "repair")]
    mapped, verdict = judged(content, facts(target=strict, repairs=True))
    again, _ = judged(content, facts(target=strict, repairs=True))
    form = next(n for n in mapped.content["nodes"] if n["name"] == "Form")
    assert not verdict.dangling and form["webhookId"]
    assert mapped.content == again.content
    assert not judged(content, facts())[1].dangling  # an older n8n keeps it as it is


def test_two_nodes_at_one_address_are_told() -> None:
    hook = node("Again", "n8n-nodes-base.webhook", parameters={"path": "w"}, webhookId="x")
    assert [w.code for w in judged(flow("W", hook), facts())[1].warnings] == ["webhook_clash"]


def test_missing_scopes_are_those_that_the_plan_needs() -> None:
    there = {"env_workflow_id": "T", "name": "W", "active": True}
    common = {"key": "w", "name": "W", "wanted_hash": "h", "credentials": [], "workflows": [], "depends_on": []}
    common |= {"source": {"env_workflow_id": "S", "content_hash": "h", "active": True}, "expected_hash": None}
    items = [
        PlanItem.from_json({**common, "action": "create", "target": None, "active": True}),
        PlanItem.from_json({**common, "action": "unchanged", "target": there, "active": False}),
    ]
    around = Surroundings(scopes=("workflow:list", "workflow:read", "workflow:create"))
    lacking = needs.check_scopes(around, items)
    assert [m.scope for m in lacking.missing] == ["workflow:delete", "workflow:activate"]
    assert needs.check_scopes(Surroundings(), items) == ScopeCheck(known=False)


def test_a_stub_gets_what_n8n_asks_for_and_no_more() -> None:
    schema = {
        "properties": {"accessToken": {"type": "string"}, "port": {"type": "number"}, "ssl": {"enum": ["allow"]}},
        "required": ["accessToken", "port", "ssl"],
    }
    assert placeholder(schema) == {"accessToken": "", "port": 0, "ssl": "allow"}
    assert placeholder({"required": []}) == {}


def test_a_stub_gets_what_older_n8n_asks_for_by_the_values_of_other_fields() -> None:
    """As 1.123 asks: what is left out has every value, and what is asked for may ask for more."""

    def asks(field: str, value: str, then: str) -> dict[str, Any]:
        branches = {"then": {"allOf": [{"required": [then]}]}, "else": {"allOf": [{"not": {"required": [then]}}]}}
        return {"if": {"properties": {field: {"enum": [value]}}}, **branches}

    text = {"type": "string"}
    schema = {
        "properties": {"accessToken": text, "signatureSecret": text, "notice": {"type": "notice"}, "more": text},
        "required": ["accessToken"],
        "allOf": [
            asks("notice", "", "more"),
            asks("signatureSecret", "", "notice"),
            asks("accessToken", "another", "signatureSecret"),
        ],
    }
    assert placeholder(schema) == {"accessToken": "", "notice": "", "more": ""}


# -- credentials, by id -----------------------------------------------------------------------------------------------


def ask(name: str, credentials: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    made = node("Ask", "n8n-nodes-base.httpRequest", credentials=credentials, parameters={"url": "x", **parameters})
    return flow(name, made)


def credential(ident: str, name: str) -> dict[str, Any]:
    return {"slackApi": {"id": ident, "name": name}}


def test_one_id_under_two_names_is_one_credential(empty_world: World) -> None:
    """n8n renames lazily: a node keeps the old name until it is saved."""
    world = empty_world
    world.source.seed([ask("Ren A", credential("C1", "Team (old)")), ask("Ren B", credential("C1", "Team"))])
    world.target.seed([ask("Car 1", credential("T1", "Team (old)")), ask("Car 2", credential("T2", "Team"))])
    world.capture()
    promotion = world.draft("ren-a", "ren-b")
    assert {d["reason"] for d in (promotion.plan or {})["dangling"]} == {"several_names"}
    save_mapping(
        tenant_id=world.tenant_id,
        source_environment_id=world.staging.pk,
        target_environment_id=world.production.pk,
        pair=CredentialPair(
            credential_type="slackApi",
            source_name="Team",
            source_credential_id="C1",
            target_name="Team",
            target_credential_id="T2",
        ),
        by=world.cast.operator,
    )
    done = world.carry_out(world.approved("ren-a", "ren-b"))
    assert done.status == "COMPLETED", done.execution_result
    used = {
        n["credentials"]["slackApi"]["id"] for name in ("Ren A", "Ren B") for n in world.by_name()[name]["nodes"][1:]
    }
    assert used == {"T2"}


def test_two_of_one_name_have_a_mapping_each(empty_world: World) -> None:
    world = empty_world
    world.source.seed([ask("One", credential("C1", "Team")), ask("Two", credential("C2", "Team"))])
    world.target.seed([ask("Car 1", credential("T1", "Blue")), ask("Car 2", credential("T2", "Red"))])
    world.capture()
    for source, target in (("C1", "T1"), ("C2", "T2")):
        save_mapping(
            tenant_id=world.tenant_id,
            source_environment_id=world.staging.pk,
            target_environment_id=world.production.pk,
            pair=CredentialPair(
                credential_type="slackApi",
                source_name="Team",
                source_credential_id=source,
                target_name="Blue" if target == "T1" else "Red",
                target_credential_id=target,
            ),
            by=world.cast.operator,
        )
    plan = world.draft("one", "two").plan or {}
    assert {i["key"]: i["credentials"][0]["target_id"] for i in plan["items"]} == {"one": "T1", "two": "T2"}


def test_an_entry_of_an_earlier_choice_is_no_gate(empty_world: World) -> None:
    world = empty_world
    held = {"httpBasicAuth": {"id": "B9", "name": "Gone basic"}, **credential("C1", "Team")}
    chosen = {"authentication": "predefinedCredentialType", "nodeCredentialType": "slackApi"}
    world.source.seed([ask("Stale", held, **chosen)])
    world.target.seed([ask("Car", credential("T2", "Team"))])
    world.capture()
    plan = world.draft("stale").plan or {}
    assert plan["dangling"] == []
    assert "unused_credential" in {w["code"] for w in plan["items"][0]["warnings"]}


@pytest.fixture
def listing_world(empty_world: World, sandbox_server: Any) -> Any:
    """A target that lists its credentials, and has no workflow yet."""
    target = sandbox_server.control.create(profile="2.20")
    with tenant_scope(empty_world.tenant_id):
        production = empty_world.production
        production.base_url, production.api_key_encrypted = target.base_url, crypto.encrypt(target.api_key)
        production.save()
    former, empty_world.target = empty_world.target, target
    yield empty_world
    empty_world.target = former
    target.delete()


def made_in(instance: Any, name: str, kind: str = "httpHeaderAuth") -> str:
    with instance.client() as client:
        answer = client.post("/credentials", json={"name": name, "type": kind, "data": {}})
        return str(answer.json()["id"])


def test_the_instances_own_list_is_used(listing_world: World) -> None:
    world = listing_world
    ident = made_in(world.target, "Main")
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    plan = world.draft("first").plan or {}
    assert plan["dangling"] == []
    assert plan["items"][0]["credentials"][0]["target_id"] == ident


def test_a_deleted_credential_is_not_pointed_to(listing_world: World) -> None:
    world = listing_world
    ident = made_in(world.target, "Main")
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    with world.target.client() as client:
        assert client.delete(f"/credentials/{ident}").is_success
    plan = world.draft("first").plan or {}
    assert [d["reason"] for d in plan["dangling"]] == ["none"]


def test_a_stub_is_made_and_blocks_until_its_secret_is_entered(listing_world: World) -> None:
    world = listing_world
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    promotion = world.draft("first")
    [offer] = offers_of(read_plan(promotion.plan)).values()
    assert (offer.do, offer.type, offer.name) == ("create_credential", "httpHeaderAuth", "Main")
    operation = services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    again = services.replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert (again.plan or {})["dangling"] == []
    with pytest.raises(SecretsLacking):
        services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    with tenant_scope(world.tenant_id):
        assert KnownCredential.objects.filter(environment=world.production, needs_secret=True).update(
            needs_secret=False
        )
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    services.approve(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver)
    with tenant_scope(world.tenant_id):
        KnownCredential.objects.filter(environment=world.production).update(needs_secret=True)
    with pytest.raises(SecretsLacking):
        world.start(promotion)
    with tenant_scope(world.tenant_id):
        KnownCredential.objects.filter(environment=world.production).update(needs_secret=False)
    done = world.carry_out(promotion)
    assert done.status == "COMPLETED", done.execution_result


def test_a_stub_of_a_type_that_the_target_does_not_know_is_named_and_the_others_are_made(listing_world: World) -> None:
    world = listing_world
    world.source.seed(
        [
            ask("First", {"clientOfPackage": {"id": "M1", "name": "A tool"}}),
            ask("Second", {"httpHeaderAuth": {"id": "D1", "name": "Main"}}),
        ]
    )
    world.capture()
    promotion = world.draft("first", "second")
    operation = services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    with tenant_scope(world.tenant_id):
        result = Operation.objects.get(pk=operation.pk).result
    assert [row["name"] for row in result["made"]] == ["Main"]
    assert [row["name"] for row in result["left"]] == ["A tool"]
    assert "install the package" in prepared(result).sentence


def test_a_draft_is_planned_again_once_the_target_is_prepared(listing_world: World) -> None:
    world = listing_world
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    promotion = world.draft("first")
    owner = Client()
    owner.force_login(world.cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/"
    assert "Create a stub" in owner.get(address).content.decode()
    page = owner.post(address, {"action": "prepare"}, follow=True).content.decode()
    with tenant_scope(world.tenant_id):
        operation = Operation.objects.get(kind=services.PREPARE)
    assert "the plan is made again by itself" in page and f"/jobs/{operation.pk}/events/" in page
    assert "Create a stub" not in page, "it is under way"
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    fresh = world.fresh(promotion)
    assert (fresh.status, (fresh.plan or {})["dangling"]) == (PromotionStatus.DRAFT, [])
    assert str(world.cast.owner.pk) in fresh.options["requesters"], "it is the plan of the one who pressed"
    assert "Missing in the target" not in owner.get(address).content.decode()


def test_preparing_leaves_what_was_asked_for_or_approved_alone(listing_world: World) -> None:
    """An approval binds to the hash of its plan: a job that ends later does not take it away."""
    world = listing_world
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    promotion = world.draft("first")
    operation = services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)

    def approve(name: str) -> None:
        if name == "look:after-result" and world.fresh(promotion).status == PromotionStatus.DRAFT:
            with tenant_scope(world.tenant_id):
                KnownCredential.objects.filter(environment=world.production).update(needs_secret=False)
            services.replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
            services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
            services.approve(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver)

    boundary_observers.append(approve)
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    fresh = world.fresh(promotion)
    assert fresh.status == PromotionStatus.APPROVED and fresh.decided_by_id == world.cast.approver.pk
    assert fresh.plan_hash


def test_a_worker_that_dies_makes_no_second_stub(listing_world: World) -> None:
    world = listing_world
    world.source.seed([ask("First", {"httpHeaderAuth": {"id": "D1", "name": "Main"}})])
    world.capture()
    promotion = world.draft("first")
    operation = services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    died: list[str] = []

    def die_once(name: str) -> None:
        if name == "stub:httpHeaderAuth:Main:effect-answered" and not died:
            died.append(name)
            raise Died

    boundary_observers.append(die_once)
    with contextlib.suppress(Died):
        world.drive(operation)
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    with world.target.client() as client:
        assert [c["name"] for c in client.get("/credentials").json()["data"]] == ["Main"]


def test_a_rename_in_n8n_is_no_drift(empty_world: World) -> None:
    world = empty_world
    [made] = world.source.seed([ask("Ren", credential("C1", "Old name"))])
    world.capture()
    with tenant_scope(world.tenant_id):
        before = load_inputs(
            tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk
        ).source.workflows["ren"]
    nodes = world.source.state()["workflows"][0]["nodes"]
    nodes[1]["credentials"]["slackApi"]["name"] = "New name"
    world.source.edit(made["id"], nodes=nodes)
    world.capture()
    with tenant_scope(world.tenant_id):
        after = load_inputs(
            tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk
        ).source.workflows["ren"]
    assert isinstance(before, WorkflowState) and before.content_hash == after.content_hash


# -- calls that hide --------------------------------------------------------------------------------------------------


def test_calls_in_expressions_and_embedded_workflows_are_rewritten(world: World) -> None:
    helper = next(w["id"] for w in world.source.state()["workflows"] if w["name"] == "Helper")
    inner = {"nodes": [calls("Inner", helper), uses("Tell", "Slack", "s1")], "connections": {}}
    literal = node("Literal", "n8n-nodes-base.executeWorkflow", parameters={"workflowId": f'={{{{ "{helper}" }}}}'})
    embedded = node(
        "Embedded",
        "n8n-nodes-base.executeWorkflow",
        parameters={"source": "parameter", "workflowJson": json.dumps(inner)},
    )
    asks = node(
        "Asks", "n8n-nodes-base.n8n", parameters={"operation": "get", "workflowId": {"mode": "list", "value": helper}}
    )
    world.source.seed([flow("Hidden", literal, embedded, asks)])
    world.target.seed([flow("Car", uses("Tell", "Slack", "t1"))])
    world.capture()
    done = world.carry_out(world.approved("hidden"))
    assert done.status == "COMPLETED", done.execution_result
    there = world.by_name()
    found = {n["name"]: n["parameters"] for n in there["Hidden"]["nodes"]}
    assert found["Literal"]["workflowId"] == f'={{{{ "{there["Helper"]["id"]}" }}}}'
    assert found["Asks"]["workflowId"]["value"] == there["Helper"]["id"]
    nodes = json.loads(found["Embedded"]["workflowJson"])["nodes"]
    assert nodes[0]["parameters"]["workflowId"]["value"] == there["Helper"]["id"]
    assert nodes[1]["credentials"]["slackApi"]["id"] == "t1"
    compared = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    assert {r.key: r.state for r in compared.rows}["hidden"] == "equal"


def test_a_call_that_only_a_run_can_tell_is_said(world: World) -> None:
    dynamic = node("Call", "n8n-nodes-base.executeWorkflow", parameters={"workflowId": "={{ $json.id }}"})
    world.source.seed([flow("Dyn", dynamic)])
    world.capture()
    plan = world.draft("dyn").plan or {}
    assert "dynamic_call" in {w["code"] for w in plan["items"][0]["warnings"]}


def test_a_workflow_that_calls_itself_calls_itself_everywhere(world: World) -> None:
    again = node("Again", "n8n-nodes-base.executeWorkflow", parameters={"workflowId": "={{ $workflow.id }}"})
    world.source.seed([flow("Loop", again)])
    world.capture()
    assert not (world.draft("loop").plan or {})["items"][0]["warnings"]


def test_forms_at_one_path_clash(empty_world: World) -> None:
    world = empty_world

    def form(name: str) -> dict[str, Any]:
        made = node(
            "Form",
            "n8n-nodes-base.formTrigger",
            parameters={"formTitle": "T", "options": {"path": "signup"}},
            webhookId=str(uuid.uuid4()),
        )
        return {**flow(name), "nodes": [made], "connections": {}, "active": True}

    world.source.seed([form("Form new")])
    world.target.seed([form("Form old")])
    world.capture()
    plan = world.draft("form-new", active="copy").plan or {}
    assert "webhook_clash" in {w["code"] for w in plan["items"][0]["warnings"]}


def test_an_unreachable_target_is_planned_for_from_what_was_seen(world: World) -> None:
    with tenant_scope(world.tenant_id):
        EnvironmentSurroundings.objects.update_or_create(
            tenant_id=world.tenant_id,
            environment=world.production,
            defaults={"seen": Surroundings(scopes=("workflow:list",)).to_json()},
        )
        world.production.base_url = "http://127.0.0.1:9"
        world.production.save()
    plan = world.draft("billing").plan or {}
    assert plan["reached"] == {"source": True, "target": False}
    assert gates.references_gate(read_plan(plan)).state == "warn"
    assert "workflow:update" in [m["scope"] for m in plan["scopes"]["missing"]]


def test_a_stored_name_is_only_a_hint(empty_world: World) -> None:
    world = empty_world
    with tenant_scope(world.tenant_id):
        common = {"tenant_id": world.tenant_id, "environment_id": world.staging.pk}
        at = world.staging.created_at
        identity.record_listed_credentials(
            **common, listed=[{"type": "slackApi", "id": "C1", "name": "Team"}], seen_at=at
        )
        identity.record_credentials(
            **common, used=[("slackApi", "Team (old)", "C1"), ("slackApi", "X", "C2")], seen_at=at, complete=True
        )
        identity.record_listed_credentials(
            **common, listed=[{"type": "slackApi", "id": "C1", "name": "Team"}], seen_at=at
        )
        rows = KnownCredential.objects.order_by("credential_id").values_list("credential_id", "name", "is_gone", "uses")
        assert list(rows) == [("C1", "Team", False, 1), ("C2", "X", True, 1)]


# -- pages and the API ------------------------------------------------------------------------------------------------


def gap(kind: str, **more: Any) -> dict[str, Any]:
    base = {"workflow_key": "billing", "workflow_name": "Billing", "node": "N", "path": "p", "value": kind}
    told = {"kind": kind, "label": kind, "credential_type": "", "key": None, "reason": "missing_in_target"}
    return {**base, **told, "message": f"No {kind}.", "offer": None, **more}


def test_the_page_groups_what_is_missing_and_offers_the_next_step(world: World) -> None:
    promotion = world.draft("billing")
    stub = {"do": "create_credential", "type": "slackApi", "name": "Main", "id": "create_credential:slackApi:Main:"}
    lacking = [
        gap("variable"),
        gap("structure", offer={"do": "repair", "id": "repair:::"}),
        gap("credential", credential_type="slackApi", reason="none", offer=stub),
        gap("data_table", credential_type="dataTable", offer={"do": "create_data_table", "name": "T", "id": "t"}),
    ]
    with tenant_scope(world.tenant_id):
        promotion.plan = {**(promotion.plan or {}), "dangling": lacking}
        promotion.save()
    client = Client()
    client.force_login(world.cast.operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/").content.decode()
    titles = ["<h3>Credentials</h3>", "<h3>Data tables</h3>", "<h3>Variables</h3>", "<h3>n8n&#x27;s own rules</h3>"]
    places = [page.find(title) for title in titles]
    assert places == sorted(places) and -1 not in places
    for words in (
        "1 credential stub and 1 data table",
        "Create a stub",
        "Create the data table",
        "Repair and plan again",
    ):
        assert words in page
    sent = client.post(f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/", {"action": "repair"})
    assert sent.status_code == 302
    assert world.fresh(promotion).plan["options"]["repair"] is True  # type: ignore[index]


def test_nothing_is_prepared_that_was_not_offered(world: World) -> None:
    promotion = world.draft("billing")
    with pytest.raises(NotOffered):
        services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    with pytest.raises(NotOffered):
        services.prepare(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, chosen=["x"])


# -- a target that lists all it has -----------------------------------------------------------------------------------


def test_a_missing_data_table_is_made_with_its_rows_and_pointed_to(
    live_cast: Any, sandbox_server: Any, no_drift: list[Any]
) -> None:
    made = [sandbox_server.control.create(profile="2.41") for _ in range(2)]
    with tenant_scope(live_cast.tenant.pk):
        sides = [
            Environment.objects.create(
                tenant=live_cast.tenant,
                name=name,
                slug=name.lower(),
                kind="staging",
                position=number,
                base_url=instance.base_url,
                api_key_encrypted=crypto.encrypt(instance.api_key),
            )
            for number, (name, instance) in enumerate(zip(("Dev", "Staging"), made, strict=True))
        ]
    world = World(live_cast, sides[0], sides[1], made[0], made[1])
    try:
        with made[0].client() as n8n:
            body = {"name": "Alerts", "columns": [{"name": "msg", "type": "string"}]}
            ident = n8n.post("/data-tables", json=body).json()["id"]
            assert n8n.post(f"/data-tables/{ident}/rows", json={"data": [{"msg": "hi"}]}).is_success
        made[0].seed([flow("Writer", table(ident))])
        world.capture()
        promotion = world.draft("writer")
        assert [d["offer"]["do"] for d in (promotion.plan or {})["dangling"]] == ["create_data_table"]
        one = {"tenant_id": world.tenant_id, "promotion_id": promotion.pk, "by": world.cast.operator}
        assert world.drive(services.prepare(**one, rows=True)) == "COMPLETED"
        services.replan(**one)
        services.submit(**one)
        done = world.carry_out(promotion)
        assert done.status == "COMPLETED", done.execution_result
        with made[1].client() as n8n:
            [there] = n8n.get("/data-tables").json()["data"]
            assert [r["msg"] for r in n8n.get(f"/data-tables/{there['id']}/rows").json()["data"]] == ["hi"]
        node_there = world.by_name()["Writer"]["nodes"][1]
        assert node_there["parameters"]["dataTableId"]["value"] == there["id"] != ident
    finally:
        for instance in made:
            instance.delete()


def test_production_is_prepared_by_approvers_until_it_is_approved(world: World) -> None:
    """A stub or a table would be made in production behind the back of the approval that it needs."""
    promotion = Promotion(source_environment=world.staging, target_environment=world.production)
    operator = open_visit(user=world.cast.operator, tenant=world.cast.tenant)
    with pytest.raises(Forbidden, match="before the promotion is approved"):
        require_prepare(operator, promotion, rows=False)
    require_prepare(open_visit(user=world.cast.owner, tenant=world.cast.tenant), promotion, rows=False)
    promotion.status = PromotionStatus.APPROVED
    require_prepare(operator, promotion, rows=False)


def test_rows_of_the_source_are_for_those_who_may_operate_it(world: World) -> None:
    promotion = Promotion(source_environment=world.production, target_environment=world.staging)
    set_environment_grants(environment=world.staging, user=world.cast.viewer, grants={OPERATE_ENVIRONMENT})
    visit = open_visit(user=world.cast.viewer, tenant=world.cast.tenant)
    require_prepare(visit, promotion, rows=False)
    with pytest.raises(Forbidden):
        require_prepare(visit, promotion, rows=True)
