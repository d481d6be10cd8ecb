"""Any two of now, live, draft, approved and captured beside each other; *now* is asked of n8n and stays on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from snapshots import comparing
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows.models import Environment

from .conftest import make_environment, workflow

pytestmark = pytest.mark.django_db(transaction=True)
HOME = "/t/acme/compare/"


@pytest.fixture
def page(live_cast: Any, client: Client) -> Client:
    client.force_login(live_cast.operator)
    return client


@pytest.fixture
def seen(capture: Any, n8n: Any) -> Any:
    """Two workflows, captured and approved; one of them was changed in n8n since."""
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    first = capture(snapshot_type="baseline")
    n8n.edit(made[0]["id"], nodes=workflow(url="https://example.org/new")["nodes"])
    return first


@pytest.fixture
def staging(live_cast: Any, sandbox_server: Any, seen: Any, run_operations: Any) -> Iterator[Environment]:
    """Another n8n, captured: production's workflows under ids of its own, one of them edited, and one more."""
    instance = sandbox_server.control.create()
    instance.seed([workflow("Refunds"), workflow("Invoices"), workflow("Orders", url="https://example.org/b")])
    made = make_environment(live_cast.tenant, instance, name="Staging", slug="staging", kind="staging", position=1)
    start_capture(
        tenant_id=live_cast.tenant.pk,
        environment_id=made.pk,
        snapshot_type="baseline",
        requested_by=live_cast.operator,
    )
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    yield made
    instance.delete()


def states(answer: Any) -> dict[str, str]:
    return {row.key: row.state for row in answer.context.get("rows", ())}


def test_now_is_asked_of_n8n_and_its_answer_keeps_its_address(
    live_cast: Any, page: Client, seen: Any, n8n: Any, run_operations: Any
) -> None:
    asked = {"left": "git:production", "right": "now:production"}
    before = page.get(HOME, asked, follow=True)
    assert states(before) == {} and b"Not asked yet" in before.content, "what was seen last is not called now"
    sent = page.post(HOME, asked)
    lasting = parse_qs(urlsplit(sent["Location"]).query)
    assert lasting["right"][0].startswith("snapshot:")
    waiting = page.get(sent["Location"])
    assert waiting.context["asking"] and b"every 2s" in waiting.content
    run_operations(live_cast.tenant)
    told = page.get(sent["Location"])
    assert states(told) == {"orders": "changed"} and not told.context["asking"]
    n8n.seed([workflow("Later")])
    page.post(HOME, asked)
    run_operations(live_cast.tenant)
    assert states(page.get(sent["Location"])) == {"orders": "changed"}, "the address stays true"


def test_every_pair_of_kinds_can_be_compared(page: Client, seen: Any, capture: Any) -> None:
    later = capture()
    sides = ("git:production", "production", "draft:production", f"snapshot:{seen.pk}", f"snapshot-draft:{later.pk}")
    for left in sides:
        for right in sides:
            answer = page.get(HOME, {"left": left, "right": right}, follow=True)
            assert answer.status_code == 200, (left, right)
            old = {left, right} & {"git:production", f"snapshot:{seen.pk}"}
            assert bool(states(answer)) == (len(old) == 1 and left != right), (left, right, states(answer))


def test_one_workflow_is_a_step_away_and_links_of_snapshots_mean_now(page: Client, seen: Any, capture: Any) -> None:
    later = capture()
    one = page.get(page.get(HOME, {"left": "git:production", "right": "production", "key": "orders"})["Location"])
    assert one.status_code == 302 and "/workflows/orders/diff/" in one["Location"]
    assert str(later.pk) in one["Location"], "the address names what was seen, not what will be"
    assert page.get(one["Location"]).status_code == 200
    linked = page.get(f"/t/acme/snapshots/{seen.pk}/compare/?with=now")
    assert parse_qs(urlsplit(linked["Location"]).query) == {
        "left": [f"snapshot:{seen.pk}"],
        "right": ["now:production"],
    }
    assert page.get(linked["Location"]).status_code == 200


def test_who_may_not_operate_is_told_so_and_asks_nothing(live_cast: Any, client: Client, seen: Any) -> None:
    client.force_login(live_cast.viewer)
    asked = {"left": "git:production", "right": "now:production"}
    assert b"does not allow asking Production now" in client.get(HOME, asked, follow=True).content
    assert client.post(HOME, asked).status_code == 403
    assert b"Not asked yet" in client.get(HOME, asked, follow=True).content
    assert client.get(HOME, {"left": "nonsense", "right": "production"}).status_code == 404


def test_two_environments_are_compared_without_ids_of_their_own(page: Client, seen: Any, staging: Any) -> None:
    """The same workflows have other ids in another n8n; one was edited there, one is missing, one is more."""
    same = page.get(HOME, {"left": "git:production", "right": "production"}, follow=True)
    assert states(same) == {} and b"Nothing differs" in same.content
    there = {"left": "production", "right": "staging"}
    assert states(page.get(HOME, there, follow=True)) == {"orders": "changed", "refunds": "added"}
    assert states(page.get(HOME, {**there, "show": "unchanged"}, follow=True)) == {"invoices": "unchanged"}
    back = {"left": "git:staging", "right": "git:production"}
    assert states(page.get(HOME, back, follow=True))["refunds"] == "removed", (
        "what is approved is compared in the same way"
    )
    assert b"always counts as changed" not in page.get(HOME, there, follow=True).content
    assert b"always counts as changed" in page.get(HOME, {**there, "left": "draft:production"}, follow=True).content


def test_now_beside_a_snapshot_is_asked_once_and_the_snapshot_stays(page: Client, seen: Any, capture: Any) -> None:
    mine = f"snapshot:{seen.pk}"
    wanted = page.get(HOME, {"left": mine, "right": "now:production"}, follow=True)
    assert asked_by(wanted) == [("Ask Production now", mine, "now:production")]
    later = f"snapshot:{capture().pk}"
    assert asked_by(page.get(HOME, {"left": mine, "right": later}, follow=True)) == [
        ("Before: ask Production now", "now:production", later),
        ("After: ask Production now", mine, "now:production"),
    ]


def test_two_sides_of_now_are_asked_by_one_button(page: Client, seen: Any, staging: Any) -> None:
    both = page.get(HOME, {"left": "now:staging", "right": "now:production"}, follow=True)
    assert asked_by(both) == [("Ask Staging and Production now", "now:staging", "now:production")]


def test_drafts_are_not_asked_for_as_if_they_were_live(page: Client, seen: Any) -> None:
    for draft in ("draft:production", f"snapshot-draft:{seen.pk}"):
        assert asked_by(page.get(HOME, {"left": draft, "right": "git:production"}, follow=True)) == []


def test_an_empty_tab_speaks_of_its_own_kind(page: Client, seen: Any, capture: Any) -> None:
    capture()
    pair = {"left": f"snapshot:{seen.pk}", "right": "production"}
    for home, asked in ((HOME, pair), (f"/t/acme/snapshots/{seen.pk}/compare/", {"with": "seen"})):
        added = page.get(home, {**asked, "show": "added"}, follow=True).content
        assert b"No workflow is added" in added and b"Nothing differs" not in added
        assert (
            b'aria-label="Unchanged workflows"' in page.get(home, {**asked, "show": "unchanged"}, follow=True).content
        )
        assert states(page.get(home, {**asked, "show": "nonsense"}, follow=True)) == {"orders": "changed"}


def test_an_environment_never_captured_is_not_one_without_workflows(
    live_cast: Any, page: Client, n8n: Any, environment: Environment
) -> None:
    with tenant_scope(live_cast.tenant.pk):
        Environment.objects.filter(pk=environment.pk).update(last_snapshot_id=None)
    for left, right in (("production", "draft:production"), ("git:production", "production")):
        answer = page.get(HOME, {"left": left, "right": right}, follow=True)
        assert b"Production was never captured" in answer.content and b"Nothing differs" not in answer.content
        assert "tabs" not in answer.context and b"/snapshots/new/?environment=production" in answer.content
    page.force_login(live_cast.viewer)
    told = page.get(HOME, {"left": "git:production", "right": "now:production"}, follow=True).content
    assert b"ask somebody who may capture it" in told and b"Not asked yet" not in told


def test_waiting_for_one_workflow_ends_on_its_page(
    live_cast: Any, page: Client, seen: Any, run_operations: Any
) -> None:
    asked = {"left": "git:production", "right": "now:production", "key": "orders"}
    sent = page.post(HOME, asked)["Location"]
    waiting = page.get(sent).context["live_url"]
    polled = page.get(HOME + waiting)
    assert polled.context["live_url"] == waiting, "asking again and again does not make it longer"
    run_operations(live_cast.tenant)
    told = page.get(HOME + waiting)
    assert told.status_code == 200 and "/workflows/orders/diff/?" in told["HX-Redirect"]
    assert page.get(sent)["Location"] == told["HX-Redirect"]
    assert page.get(HOME, {**asked, "right": "production", "key": "no slug/"}).status_code == 404


def test_the_form_keeps_a_side_that_it_does_not_offer(
    page: Client, seen: Any, capture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture()
    monkeypatch.setattr(comparing, "SNAPSHOTS_OFFERED", 1)
    for left in (f"snapshot:{seen.pk}", f"snapshot-draft:{seen.pk}"):
        for asked in ({"left": left, "right": "production"}, {"left": left}):
            assert f'<option value="{left}" selected>' in page.get(HOME, asked, follow=True).content.decode()


def asked_by(answer: Any) -> list[tuple[str, str, str]]:
    return [(ask.label, ask.left, ask.right) for ask in answer.context["asks"]]


def test_a_snapshot_that_is_no_id_is_not_found(page: Client, seen: Any) -> None:
    assert page.get(HOME, {"left": "snapshot:nonsense", "right": "production"}, follow=True).status_code == 404
