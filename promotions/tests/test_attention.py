"""A target left half-way: the promotion says so, people are told, nothing else goes there until it is settled."""

from __future__ import annotations

import smtplib
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client

from core.errors import Invalid
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.errors import TargetHeld, WrongState
from promotions.models import Promotion
from promotions.running import attention_mail, status_sync
from promotions.tests.test_pages import browser
from promotions.tests.world import World, flow, node
from tenants.scope import tenant_scope
from tests.reading import flat

KEYS = ("billing", "intake")


def away(world: World, **where: Any) -> None:
    """Every call of a kind is answered by a proxy without an n8n behind it."""
    world.target.fault(kind="status", status=503, **where)


def change_same(world: World) -> None:
    """Staging has a third change."""
    ident = next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Same")
    world.source.edit(ident, nodes=flow("Same", node("Changed"))["nodes"])
    world.capture(world.staging)


def half_way(world: World) -> Promotion:
    """Promoted in part, and n8n stays away on the way back."""
    promotion = world.approved(*KEYS)
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    away(world, method="DELETE")
    assert world.drive(world.start(promotion)) == "FAILED"
    return world.fresh(promotion)


def roll_back(world: World, promotion: Promotion, **options: Any) -> Any:
    return services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, reason="Settle it.", **options
    )


def result_of(world: World, promotion: Promotion) -> dict[str, Any]:
    return world.fresh(promotion).execution_result or {}


def test_nothing_else_is_promoted_there_until_it_is_rolled_back(world: World) -> None:
    change_same(world)
    first = world.carry_out(world.approved("same"))
    before = world.hashes()
    other = world.approved("billing")
    half = half_way(world)
    assert half.attention_since is not None
    with pytest.raises(TargetHeld) as caught:
        world.start(other)
    assert caught.value.code == "PROMO_019" and half.name in caught.value.message
    with pytest.raises(TargetHeld):
        roll_back(world, first)
    world.target.clear_faults()
    forced = roll_back(world, half, force=True)
    assert world.drive(forced) == "COMPLETED", world.failure(forced.pk)
    assert world.hashes() == before
    settled = world.fresh(half)
    assert (settled.status, settled.attention_since) == ("ROLLED_BACK", None)
    assert world.carry_out(other).status == "COMPLETED"


def page_of(world: World, promotion: Promotion) -> str:
    path = f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/"
    return " ".join(browser(world.cast.operator, world).get(path).content.decode().split())


def test_the_page_says_that_the_last_rollback_wrote_nothing(world: World) -> None:
    half = half_way(world)
    away(world)
    assert world.drive(roll_back(world, half)) == "FAILED"
    assert "The rollback wrote nothing" in page_of(world, half)
    world.target.clear_faults()
    assert world.drive(roll_back(world, half, force=True)) == "COMPLETED"
    assert "The rollback wrote nothing" not in page_of(world, half)


def test_the_estate_names_the_tenant_whose_target_is_half_way_before_all_others(world: World) -> None:
    half_way(world)
    page = browser(world.cast.admin, world).get("/").content.decode()
    assert "Left half-way" in page and "1 left half-way" in page
    assert f"/t/{world.cast.tenant.slug}/promotions/?state=attention" in page


def test_a_job_that_waited_does_not_write_into_a_target_left_half_way(world: World) -> None:
    other = world.approved("billing")
    half = half_way(world)
    with tenant_scope(world.tenant_id):
        Promotion.objects.filter(pk=half.pk).update(attention_since=None)
    operation = world.start(other)
    with tenant_scope(world.tenant_id):
        Promotion.objects.filter(pk=half.pk).update(attention_since=half.attention_since)
    assert world.drive(operation) == "FAILED"
    result = result_of(world, other)
    assert result["error"]["code"] == "PROMO_019" and result["target_untouched"]


def test_ended_by_hand_while_it_wrote_holds_the_target_too(world: World) -> None:
    from operations.handlers import boundary_observers

    promotion, other = world.approved("intake"), world.approved("billing")
    operation = world.start(promotion)

    def observe(name: str) -> None:
        if name == "promote:write:helper:after-effect":
            boundary_observers.clear()
            with tenant_scope(world.tenant_id):
                Operation.objects.filter(pk=operation.pk).update(status="FAILED")

    boundary_observers.append(observe)
    world.drive(operation, tries=1)
    assert status_sync.settle_all() == 1
    with pytest.raises(TargetHeld):
        world.start(other)


def test_a_person_who_has_looked_lets_go_of_it(world: World) -> None:
    change_same(world)
    other, half = world.approved("same"), half_way(world)
    by: dict[str, Any] = {"tenant_id": world.tenant_id, "promotion_id": half.pk, "by": world.cast.operator}
    with pytest.raises(Invalid):
        services.release(**by, reason=" ")
    services.release(**by, reason="Deleted them in the editor.")
    result = result_of(world, half)
    assert result["needs_attention"] is False
    assert result["released"]["reason"] == "Deleted them in the editor."
    with pytest.raises(WrongState):
        services.release(**by, reason="Again.")
    world.target.clear_faults()
    assert world.carry_out(other).status == "COMPLETED"


def test_its_page_shouts_and_offers_the_ways_out(world: World, client: Client) -> None:
    half = half_way(world)
    attention_mail.notify_all()
    client.force_login(world.cast.operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = f"/t/{world.cast.tenant.slug}/promotions/{half.pk}/"
    page = client.get(address).content.decode()
    assert "Production may hold a mix of old and new workflows" in page
    assert "Told by mail" in page and "Roll back…" in page and "Release target…" in page
    listed = client.get(f"/t/{world.cast.tenant.slug}/promotions/?state=attention").content.decode()
    assert half.name in listed
    wrong = {"action": "release", "reason": "Looked at all of it.", "typed": "production"}
    assert client.post(address, wrong).status_code == 422
    assert client.post(address, {**wrong, "typed": "Production"}).status_code == 302
    page = flat(client.get(address).content)
    said = page.split("The target was released")[1].split("</time>")[0]
    assert str(world.cast.operator) in said and "<time" in said and "“Looked at all of it.”" in page
    assert "It failed; Production was looked at and released as it was then." in page
    assert "mix of old and new" not in client.get(address).content.decode()


def test_everybody_concerned_is_told_once(world: World) -> None:
    half = half_way(world)
    assert attention_mail.notify_all() == 1
    assert attention_mail.notify_all() == 0
    (sent,) = mail.outbox
    cast = world.cast
    assert {cast.owner.email, cast.operator.email, cast.approver.email} <= set(sent.to)
    assert cast.viewer.email not in sent.to
    assert sent.subject.startswith("[OpsConsole] Production is half-way: ")
    assert f"/promotions/{half.pk}/" in sent.body
    assert result_of(world, half)["told"]["state"] == "told"


def test_a_mail_server_that_is_away_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    half = half_way(world)
    send = EmailMessage.send

    def refuse(*_args: Any, **_options: Any) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(EmailMessage, "send", refuse)
    assert attention_mail.notify_all() == 0
    assert result_of(world, half)["told"]["state"] == "waiting"
    monkeypatch.setattr(EmailMessage, "send", send)
    assert attention_mail.notify_all() == 0, "not yet"
    _turn_back_the_clock(world, half)
    assert attention_mail.notify_all() == 1


def test_a_mail_that_may_have_left_is_not_sent_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    half = half_way(world)

    def drop(*_args: Any, **_options: Any) -> int:
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr(EmailMessage, "send", drop)
    assert attention_mail.notify_all() == 0
    assert result_of(world, half)["told"]["state"] == "unknown"
    _turn_back_the_clock(world, half)
    assert attention_mail.notify_all() == 0


def test_a_worker_killed_while_it_tells_leaves_it_unknown(world: World) -> None:
    half = half_way(world)
    assert attention_mail._claim(world.tenant_id, half.pk) is not None
    assert attention_mail.notify_all() == 0, "another worker leaves it alone"
    _turn_back_the_clock(world, half)
    assert attention_mail.notify_all() == 0
    assert result_of(world, half)["told"]["state"] == "unknown" and not mail.outbox


def _turn_back_the_clock(world: World, promotion: Promotion) -> None:
    result = result_of(world, promotion)
    told = {**result["told"], "at": "2020-01-01T00:00:00+00:00"}
    with tenant_scope(world.tenant_id):
        Promotion.objects.filter(pk=promotion.pk).update(execution_result={**result, "told": told})


# -- a rollback that meets trouble ------------------------------------------------------------------------------------


def test_a_rollback_waits_for_an_n8n_that_is_away(world: World) -> None:
    before = world.hashes()
    promotion = world.carry_out(world.approved(*KEYS))
    assert promotion.status == "COMPLETED"
    away(world, method="DELETE")
    operation = roll_back(world, promotion)
    assert world.drive(operation, tries=2) == "RETRY_PENDING"
    assert world.hashes() != before
    world.target.clear_faults()
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    assert world.hashes() == before
    assert world.fresh(promotion).status == "ROLLED_BACK"


@pytest.mark.parametrize("where", [{"method": "DELETE"}, {}], ids=["partly away", "wholly away"])
def test_a_rollback_that_cannot_come_to_its_end_is_said(world: World, where: dict[str, str]) -> None:
    before = world.hashes()
    promotion = world.carry_out(world.approved(*KEYS))

    def observe(name: str) -> None:
        if name.startswith("rollback:write:") and name.endswith("after-effect"):
            boundary_observers.clear()
            away(world, **where)

    boundary_observers.append(observe)
    if where:
        away(world, **where)
    operation = roll_back(world, promotion)
    assert world.drive(operation) == "FAILED"
    half = world.fresh(promotion)
    result = half.execution_result or {}
    assert world.hashes() != before
    assert result["needs_attention"] is True and half.attention_since is not None
    assert half.status == "FAILED", "it is not completed any more"
    assert (world.failure(operation.pk) or {})["code"] == "PROMO_005"
    attention_mail.notify_all()
    assert len(mail.outbox) == 1
    world.target.clear_faults()
    assert world.drive(roll_back(world, half, force=True)) == "COMPLETED"
    assert world.hashes() == before
    assert result_of(world, half)["needs_attention"] is False


def test_a_creation_without_an_answer_is_rolled_back_too(world: World) -> None:
    """n8n made it, the answer was lost, and n8n stayed away until the last try: nobody wrote down its id."""
    before = world.hashes()
    promotion = world.approved(*KEYS)

    def observe(name: str) -> None:
        if name == "promote:write:helper:after-intent":
            boundary_observers.clear()
            world.target.fault(kind="drop_after", method="POST", path="/workflows$", nth=1)
            away(world, method="GET")

    boundary_observers.append(observe)
    operation = world.start(promotion)
    assert world.drive(operation) == "FAILED"
    half = world.fresh(promotion)
    world.target.clear_faults()
    assert (half.execution_result or {})["needs_attention"] is True
    assert world.hashes() != before
    forced = roll_back(world, half, force=True)
    assert world.drive(forced) == "COMPLETED", world.failure(forced.pk)
    assert world.hashes() == before
