"""Each rule that asks for a second person, tried by one person with every account that person can make."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core import clock, context
from core.errors import OpsError
from promotions import rows
from promotions.models import Promotion, PromotionStatus
from promotions.permissions import require_prepare
from promotions.planning.gate_facts import needs_approval
from tenants import people
from tenants.models import Membership
from tenants.pages import open_visit
from tenants.scope import platform_scope, tenant_scope
from tenants.services import set_membership
from tenants.tokens import create_token, revoke_token
from workflows import guard_changes, guards
from workflows.models import Environment, GuardChange

from .accounts import ACCOUNTS, Account, machine_of_their_making, own_token

pytestmark = pytest.mark.django_db
Make = Callable[[Any], Account]


@pytest.fixture
def estate(cast: Any) -> dict[str, Environment]:
    """Dev, staging and production, each captured."""
    with tenant_scope(cast.tenant.pk):
        return {
            kind: Environment.objects.create(
                tenant=cast.tenant,
                name=kind.title(),
                slug=kind,
                kind=kind,
                position=position,
                base_url=f"https://{kind}.example.org",
                last_captured_at=clock.now(),
            )
            for position, kind in enumerate(("dev", "staging", "production"))
        }


@pytest.fixture
def asked(cast: Any, estate: dict[str, Environment]) -> Callable[[Account], Promotion]:
    """A promotion into production for which an account has asked, waiting for approval."""

    def ask(by: Account) -> Promotion:
        with context.acting(actor_id=by.user.pk, source="api"), tenant_scope(cast.tenant.pk):
            row = Promotion.objects.create(
                tenant_id=cast.tenant.pk,
                name="One",
                source_environment=estate["staging"],
                target_environment=estate["production"],
                created_by=by.user,
                options=rows.guard_of(estate["production"].pk),
                plan={},
                plan_hash="x",
                status=PromotionStatus.PENDING_APPROVAL,
            )
            rows.add_requester(row, by.user)
            row.save()
            return row

    return ask


def allow_machines(cast: Any) -> None:
    """As if two owners had allowed every machine, so that only the other rules stand."""
    with tenant_scope(cast.tenant.pk):
        machines = Membership.objects.filter(user__is_service=True).values_list("user_id", flat=True)
        guards.save_policy(cast.tenant.pk, approving_accounts=list(machines))


@pytest.mark.parametrize("approves", ACCOUNTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("asks", ACCOUNTS, ids=lambda make: make.__name__)
def test_nobody_approves_the_own_promotion_under_any_account(
    cast: Any, asked: Callable[[Account], Promotion], asks: Make, approves: Make
) -> None:
    asking = asks(cast)
    approving = asking if approves is asks else approves(cast)
    promotion = asked(asking)
    allow_machines(cast)
    answer = approving.post(f"/promotions/{promotion.pk}/approve", {"comment": "fine"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "PROMO_010"), answer.content
    with tenant_scope(cast.tenant.pk):
        assert Promotion.objects.get(pk=promotion.pk).status == PromotionStatus.PENDING_APPROVAL


@pytest.mark.parametrize("asks", ACCOUNTS, ids=lambda make: make.__name__)
def test_another_person_approves(cast: Any, asked: Callable[[Account], Promotion], asks: Make) -> None:
    promotion = asked(asks(cast))
    client = Client()
    client.force_login(cast.approver)
    page = reverse("promotion", kwargs={"tenant_slug": "acme", "pk": promotion.pk})
    client.post(page, {"action": "approve", "comment": "fine", "plan_hash": "x"})
    with tenant_scope(cast.tenant.pk):
        assert Promotion.objects.get(pk=promotion.pk).status == PromotionStatus.APPROVED


def test_a_token_that_is_revoked_after_asking_changes_nothing(cast: Any, asked: Callable[[Account], Promotion]) -> None:
    """The operator asks with a machine of the admin's making, whose token the owner made and then revokes."""
    made = people.create_service_account(tenant=cast.tenant, name="Loan", role="operator", by=cast.admin)
    token, secret = create_token(user=made, tenant=cast.tenant, name="x", created_by=cast.owner)
    promotion = asked(Account(made, secret))
    revoke_token(token_id=str(token.pk), tenant=cast.tenant)
    answer = own_token(cast).post(f"/promotions/{promotion.pk}/approve")
    assert answer.json()["error"]["code"] == "PROMO_010"


def test_a_machine_approves_only_where_two_owners_allowed_this_one(
    cast: Any, asked: Callable[[Account], Promotion]
) -> None:
    robot = machine_of_their_making(cast)
    other = people.create_service_account(tenant=cast.tenant, name="Other", role="approver", by=cast.owner)
    set_membership(tenant=cast.tenant, user=cast.stranger, role="owner", by=cast.owner)
    promotion = asked(Account(cast.operator, ""))
    path = f"/promotions/{promotion.pk}/approve"
    assert robot.post(path).json()["error"]["code"] == "PROMO_020"
    change = guards.ask_for_account(tenant_id=cast.tenant.pk, account_id=robot.user.pk, by=cast.owner)
    assert robot.post(path).json()["error"]["code"] == "PROMO_020", "nothing changes before the second owner agrees"
    guard_changes.answer(tenant_id=cast.tenant.pk, change_id=change.pk, by=cast.stranger, approve=True)
    with tenant_scope(cast.tenant.pk):
        assert guards.policy_of(cast.tenant.pk).approving_accounts == [robot.user.pk] != [other.pk]
    assert robot.post(path).status_code == 200
    guards.forbid_account(tenant_id=cast.tenant.pk, account_id=robot.user.pk)
    with tenant_scope(cast.tenant.pk):
        assert guards.policy_of(cast.tenant.pk).approving_accounts == []


@pytest.mark.parametrize("approves", ACCOUNTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", ["environment", "jumps", "account"])
def test_nobody_agrees_to_the_own_change_of_a_guard(
    cast: Any, estate: dict[str, Environment], kind: str, approves: Make
) -> None:
    account = approves(cast)
    change = _ask_to_lower(cast, estate, kind)
    with pytest.raises(OpsError) as refused:
        guard_changes.answer(tenant_id=cast.tenant.pk, change_id=change.pk, by=account.user, approve=True)
    assert refused.value.code == "GUARD_001"
    with tenant_scope(cast.tenant.pk):
        assert Environment.objects.get(slug="production").kind == "production"
        assert not guards.policy_of(cast.tenant.pk).allows_jumps
        assert guards.policy_of(cast.tenant.pk).approving_accounts == []


def _ask_to_lower(cast: Any, estate: dict[str, Environment], kind: str) -> GuardChange:
    place = {"tenant_id": cast.tenant.pk, "by": cast.owner}
    if kind == "jumps":
        return guards.ask_for_jumps(**place)
    if kind == "account":
        return guards.ask_for_account(**place, account_id=machine_named(cast).pk)
    guard_changes.change_environment(**place, environment_id=estate["production"].pk, kind="staging")
    with tenant_scope(cast.tenant.pk):
        return guards.waiting()[0]


def machine_named(cast: Any) -> Any:
    return people.create_service_account(tenant=cast.tenant, name="Asked for", role="approver", by=cast.owner)


@pytest.mark.parametrize("asks", ACCOUNTS, ids=lambda make: make.__name__)
def test_nobody_copies_rows_into_production_for_the_own_promotion(
    cast: Any, asked: Callable[[Account], Promotion], asks: Make
) -> None:
    """An approver may prepare a target before the approval, but not bring content for what they asked for."""
    promotion = asked(asks(cast))
    promotion.source_environment, promotion.target_environment = _environments(cast)
    with platform_scope():
        visit = open_visit(user=cast.owner, slug="acme")
    with context.acting(actor_id=cast.owner.pk, source="web"), pytest.raises(OpsError):
        require_prepare(visit, promotion, rows=True)
    with context.acting(actor_id=cast.owner.pk, source="web"):
        require_prepare(visit, promotion, rows=False)


def _environments(cast: Any) -> tuple[Environment, Environment]:
    with tenant_scope(cast.tenant.pk):
        return Environment.objects.get(slug="staging"), Environment.objects.get(slug="production")


# -- lowering a guard -------------------------------------------------------------------------------------------------

LOWERING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("production", {"kind": "staging"}),
    ("production", {"kind": "dev", "position": 7}),
    ("dev", {"position": 1}),
    ("dev", {"position": 2}),
    ("staging", {"position": 0}),
    ("staging", {"position": 5}),
    ("production", {"position": 1}),
)


@pytest.mark.parametrize(("slug", "values"), LOWERING)
def test_what_lowers_a_guard_waits_for_another_owner(
    cast: Any, estate: dict[str, Environment], slug: str, values: dict[str, Any]
) -> None:
    environment = estate[slug]
    answer = Client().patch(
        f"/api/v1/environments/{environment.pk}",
        {**values, "name": "Renamed"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {own_token(cast).secret}"},
    )
    assert answer.status_code == 200 and answer.json()["environment"]["waiting"], answer.content
    with tenant_scope(cast.tenant.pk):
        found = Environment.objects.get(pk=environment.pk)
        assert (found.kind, found.position, found.name) == (environment.kind, environment.position, "Renamed")
        (change,) = guards.waiting()
    guard_changes.answer(tenant_id=cast.tenant.pk, change_id=change.pk, by=cast.stranger, approve=True)
    with tenant_scope(cast.tenant.pk):
        found = Environment.objects.get(pk=environment.pk)
    assert {name: getattr(found, name) for name in values} == values


def test_archiving_what_stands_between_waits_too(cast: Any, estate: dict[str, Environment]) -> None:
    client = Client()
    client.force_login(cast.owner)
    archive = reverse("environment-archive", kwargs={"tenant_slug": "acme", "pk": estate["staging"].pk})
    page = client.post(archive, {"typed": "Staging"}, follow=True).content.decode()
    assert "Waiting for a second owner" in page and "Staging: archived yes" in page
    with tenant_scope(cast.tenant.pk):
        assert not Environment.objects.get(slug="staging").is_archived


@pytest.mark.parametrize(
    ("slug", "values"),
    [("staging", {"kind": "production"}), ("dev", {"kind": "staging"}), ("production", {"position": 9})],
)
def test_what_lowers_nothing_is_done_at_once(
    cast: Any, estate: dict[str, Environment], slug: str, values: dict[str, Any]
) -> None:
    changed = guard_changes.change_environment(
        tenant_id=cast.tenant.pk, environment_id=estate[slug].pk, by=cast.owner, **values
    )
    assert {name: getattr(changed, name) for name in values} == values
    with tenant_scope(cast.tenant.pk):
        assert guards.waiting() == []


def test_an_open_promotion_keeps_the_guard_it_began_with(
    cast: Any, estate: dict[str, Environment], asked: Callable[[Account], Promotion]
) -> None:
    """Also where two owners lower it, and where it goes up again."""
    promotion = asked(own_token(cast))
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(slug="production").update(kind="staging")
        assert needs_approval(Promotion.objects.select_related("target_environment").get(pk=promotion.pk))
    answer = own_token(cast).post(f"/promotions/{promotion.pk}/approve")
    assert answer.json()["error"]["code"] == "PROMO_010"


def test_the_page_lets_another_owner_agree_and_not_the_one_who_asked(cast: Any, estate: dict[str, Environment]) -> None:
    set_membership(tenant=cast.tenant, user=cast.stranger, role="owner", by=cast.owner)
    own, other = Client(), Client()
    own.force_login(cast.owner)
    other.force_login(cast.stranger)
    page = reverse("approval-rules", kwargs={"tenant_slug": "acme"})
    own.post(page, {"action": "allow-jumps"})
    shown = own.get(page).content.decode()
    assert ">Withdraw<" in " ".join(shown.split()).replace("> ", ">").replace(" <", "<") and ">Agree<" not in shown
    with tenant_scope(cast.tenant.pk):
        (change,) = guards.waiting()
    answer = reverse("guard-answer", kwargs={"tenant_slug": "acme", "pk": change.pk})
    assert own.post(answer, {"answer": "approve"}).status_code == 403
    assert other.post(answer, {"answer": "approve"}).status_code == 302
    assert other.post(answer, {"answer": "approve"}).status_code == 409
    with tenant_scope(cast.tenant.pk):
        assert guards.policy_of(cast.tenant.pk).allows_jumps
    viewer = Client()
    viewer.force_login(cast.viewer)
    assert viewer.get(page).status_code == 200
    assert viewer.post(page, {"action": "forbid-jumps"}).status_code == 403
    assert viewer.post(answer, {"answer": "decline"}).status_code == 403
    assert own.post(answer.replace(str(change.pk), str(uuid.uuid4())), {"answer": "decline"}).status_code == 404
