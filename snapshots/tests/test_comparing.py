"""Any two of now, live, draft, approved and captured beside each other; *now* is asked of n8n and stays on record."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from workflows.models import Environment

from .conftest import workflow

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


def states(answer: Any) -> dict[str, str]:
    return {row.key: row.state for row in answer.context.get("rows", ())}


def test_now_is_asked_of_n8n_and_its_answer_keeps_its_address(
    live_cast: Any, page: Client, seen: Any, n8n: Any, run_operations: Any
) -> None:
    asked = {"left": "git:production", "right": "now:production"}
    before = page.get(HOME, asked)
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
            answer = page.get(HOME, {"left": left, "right": right})
            assert answer.status_code == 200, (left, right)
            old = {left, right} & {"git:production", f"snapshot:{seen.pk}"}
            assert bool(states(answer)) == (len(old) == 1 and left != right), (left, right, states(answer))


def test_one_workflow_is_a_step_away_and_links_of_snapshots_mean_now(page: Client, seen: Any, capture: Any) -> None:
    later = capture()
    one = page.get(HOME, {"left": "git:production", "right": "production", "key": "orders"})
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
    assert b"does not allow to ask" in client.get(HOME, asked).content
    assert client.post(HOME, asked).status_code == 403
    assert b"Not asked yet" in client.get(HOME, asked).content
    assert client.get(HOME, {"left": "nonsense", "right": "production"}).status_code == 404


def test_other_environments_are_compared_without_ids_of_their_own(
    live_cast: Any, page: Client, seen: Any, environment: Environment
) -> None:
    answer = page.get(HOME, {"left": "git:production", "right": "production"})
    assert states(answer) == {} and b"Nothing differs" in answer.content
