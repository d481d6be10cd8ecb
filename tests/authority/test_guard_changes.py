"""Changes that lower a guard, over REST, and who hears of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from tenants import people
from tenants.models import TenantRole
from tenants.scope import tenant_scope
from tenants.services import set_membership
from tenants.tokens import create_token
from tests.pressing import pressed_twice
from workflows import guards

from .accounts import ACCOUNTS, Account, own_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(cast: Any) -> Account:
    """Another owner, who is another person."""
    set_membership(tenant=cast.tenant, user=cast.stranger, role=TenantRole.OWNER, by=cast.owner)
    return Account(cast.stranger, create_token(user=cast.stranger, name="x", tenant=cast.tenant)[1])


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """What was mailed since it was last asked, as (to, subject)."""
    monkeypatch.setattr("tenants.mail.transaction", SimpleNamespace(on_commit=lambda deliver: deliver()))
    mail.outbox = []

    def sent() -> list[Any]:
        found = [(sorted(message.to), message.subject) for message in mail.outbox]
        mail.outbox.clear()
        return found

    return sent


def call(account: Account, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {account.secret}"}
    return getattr(Client(), method)(f"/api/v1{path}", body or {}, content_type="application/json", headers=headers)


def test_jumps_wait_for_another_owner_to_agree(cast: Any, second: Account) -> None:
    mine = own_token(cast)
    asked = call(mine, "patch", "/approval-rules", {"allows_jumps": True})
    assert (asked.status_code, asked.json()["allows_jumps"]) == (202, False)
    change = asked.json()["waiting"][0]
    path = f"/guard-changes/{change['id']}/answer"
    assert call(mine, "post", path, {"approve": True}).json()["error"]["code"] == "GUARD_001"
    agreed = call(second, "post", path, {"approve": True})
    assert (agreed.status_code, agreed.json()["guard_change"]["approved"]) == (200, True)
    assert call(mine, "get", "/approval-rules").json()["allows_jumps"] is True
    again = call(second, "post", path, {"approve": True})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "GUARD_002")
    tightened = call(mine, "patch", "/approval-rules", {"allows_jumps": False})
    assert (tightened.status_code, tightened.json()["allows_jumps"]) == (200, False)


def test_the_other_owners_are_told_of_what_waits_and_all_of_the_answer(
    cast: Any, second: Account, posted: Callable[[], list[Any]]
) -> None:
    asked = call(own_token(cast), "patch", "/approval-rules", {"allows_jumps": True}).json()["waiting"][0]
    assert posted() == [(["stranger@example.org"], "Owner asks to lower a guard in Acme Robotics")]
    call(second, "post", f"/guard-changes/{asked['id']}/answer", {"approve": False})
    told = [(["owner@example.org", "stranger@example.org"], "Stranger declined: ")]
    assert [(to, subject[: len("Stranger declined: ")]) for to, subject in posted()] == told


@pytest.mark.parametrize("make", ACCOUNTS, ids=lambda make: make.__name__)
def test_no_account_of_the_one_who_asked_agrees_over_rest(cast: Any, make: Callable[[Any], Account]) -> None:
    change = call(own_token(cast), "patch", "/approval-rules", {"allows_jumps": True}).json()["waiting"][0]
    account = make(cast)
    answer = call(account, "post", f"/guard-changes/{change['id']}/answer", {"approve": True})
    assert answer.status_code == 403, answer.content
    assert call(own_token(cast), "get", "/approval-rules").json()["allows_jumps"] is False


def test_a_machine_is_allowed_by_two_and_forbidden_by_one(cast: Any, second: Account) -> None:
    machine = people.create_service_account(tenant=cast.tenant, name="Robot", role="approver", by=cast.owner)
    mine, named = own_token(cast), {"allow_user_id": str(machine.pk)}
    change = call(mine, "patch", "/approval-rules", named).json()["waiting"][0]
    call(second, "post", f"/guard-changes/{change['id']}/answer", {"approve": True})
    assert call(mine, "get", "/approval-rules").json()["approving_accounts"] == [str(machine.pk)]
    forbidden = call(mine, "patch", "/approval-rules", {"forbid_user_id": str(machine.pk)})
    assert (forbidden.status_code, forbidden.json()["approving_accounts"]) == (200, [])
    assert call(mine, "patch", "/approval-rules", {"forbid_user_id": str(machine.pk)}).status_code == 404
    person = call(mine, "patch", "/approval-rules", {"allow_user_id": str(cast.viewer.pk)})
    assert person.status_code == 404, "approval of a person is a matter of roles"


def test_what_is_allowed_already_asks_nobody(
    cast: Any, second: Account, client: Client, posted: Callable[[], list[Any]]
) -> None:
    machine = people.create_service_account(tenant=cast.tenant, name="Robot", role="approver", by=cast.owner)
    wanted = {"allow_user_id": str(machine.pk), "allows_jumps": True}
    for change in call(own_token(cast), "patch", "/approval-rules", wanted).json()["waiting"]:
        call(second, "post", f"/guard-changes/{change['id']}/answer", {"approve": True})
    posted()
    again = call(own_token(cast), "patch", "/approval-rules", wanted)
    assert (again.status_code, again.json()["waiting"]) == (200, [])
    client.force_login(cast.owner)
    for form in ({"action": "allow-jumps"}, {"action": "allow-account", "account": str(machine.pk)}):
        page = client.post("/t/acme/approval-rules/", form, follow=True)
        assert "That is allowed already; nothing changes." in page.content.decode()
    assert call(own_token(cast), "get", "/approval-rules").json()["waiting"] == [] and posted() == []


def test_only_owners_change_the_rules(cast: Any) -> None:
    operator = Account(cast.operator, create_token(user=cast.operator, name="x", tenant=cast.tenant)[1])
    assert call(operator, "patch", "/approval-rules", {"allows_jumps": True}).status_code == 403
    assert call(operator, "get", "/approval-rules").json()["waiting"] == []


def test_a_line_break_in_a_name_keeps_no_mail_from_going_out(
    cast: Any, second: Account, posted: Callable[[], list[Any]]
) -> None:
    cast.owner.name = "Ada\nBcc: everybody@example.org"
    cast.owner.save(update_fields=["name"])
    call(own_token(cast), "patch", "/approval-rules", {"allows_jumps": True})
    subject = "Ada Bcc: everybody@example.org asks to lower a guard in Acme Robotics"
    assert posted() == [(["stranger@example.org"], subject)]


@pytest.mark.django_db(transaction=True)
def test_of_two_questions_at_the_same_moment_one_waits(live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"tenant_id": live_cast.tenant.pk, "by": live_cast.owner}
    pressed_twice(monkeypatch, guards, "_withdraw", lambda: guards.ask_for_jumps(**asked))
    with tenant_scope(live_cast.tenant.pk):
        assert len(guards.waiting()) == 1
