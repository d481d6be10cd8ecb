"""Looking at a promotion together: comments, and marks that fall when what was viewed is no longer what is planned."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditLog
from core import clock
from core.errors import Forbidden, Invalid, NotFound
from outbox.models import OutboxEvent
from promotions.models import Promotion, ReviewComment, ReviewMark
from promotions.planning.documents import read_plan
from promotions.reviewing import comments, viewed
from promotions.reviewing.reading import marks_of
from promotions.services import replan
from promotions.tests.test_pages import bearer, browser
from promotions.tests.world import World, flow, node
from tenants.scope import tenant_scope
from workflows.discussing import comments as discussing

pytestmark = pytest.mark.django_db(transaction=True)


def said(world: World, promotion: Promotion, text: str = "Why is this so?", **more: Any) -> ReviewComment:
    given = {"workflow_key": "billing", "by": world.cast.viewer, **more}
    return comments.add(tenant_id=world.tenant_id, promotion_id=promotion.pk, text=text, **given)


def holding(world: World, promotion: Promotion) -> list[ReviewMark]:
    with tenant_scope(world.tenant_id):
        row = Promotion.objects.get(pk=promotion.pk)
        return marks_of(row.pk, read_plan(row.plan).items)


def test_a_comment_is_kept_told_and_on_the_trail(world: World) -> None:
    promotion = world.draft("billing")
    comment = said(world, promotion, node="Set")
    with tenant_scope(world.tenant_id):
        assert comment.after_hash and comment.author_id == world.cast.viewer.pk
        event = OutboxEvent.objects.get(name="promotion.commented")
        assert event.payload["comment_id"] == str(comment.pk) and event.payload["node"] == "Set"
        assert AuditLog.objects.filter(resource_id=str(comment.pk)).exists()


def test_words_are_their_authors(world: World) -> None:
    promotion = world.draft("billing")
    comment = said(world, promotion)
    about, named = comments.subject_of(promotion), {"comment_id": comment.pk}
    with pytest.raises(Forbidden):
        discussing.edit(about, **named, text="x", by=world.cast.approver)
    with pytest.raises(Forbidden):
        discussing.delete(about, **named, by=world.cast.approver)
    changed = discussing.edit(about, **named, text="Better said", by=world.cast.viewer)
    assert changed.text == "Better said" and changed.edited_at
    settled = discussing.set_resolved(about, **named, resolved=True, by=world.cast.approver)
    assert settled.resolved_by_id == world.cast.approver.pk
    assert discussing.set_resolved(about, **named, resolved=False, by=world.cast.viewer).resolved_at is None
    discussing.delete(about, **named, by=world.cast.viewer)
    with pytest.raises(NotFound):
        discussing.edit(about, **named, text="gone", by=world.cast.viewer)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 4001])
def test_what_says_nothing_or_too_much_is_refused(world: World, text: str) -> None:
    promotion = world.draft("billing")
    with pytest.raises(Invalid):
        said(world, promotion, text)
    with pytest.raises(NotFound):
        said(world, promotion, workflow_key="no-such-workflow")


def test_a_mark_falls_when_the_change_moves(world: World) -> None:
    promotion = world.draft("billing", "intake")
    for key in ("billing", "intake"):
        viewed.set_viewed(
            tenant_id=world.tenant_id, promotion_id=promotion.pk, workflow_key=key, viewed=True, by=world.cast.approver
        )
    assert {mark.workflow_key for mark in holding(world, promotion)} == {"billing", "intake"}
    billing = next(row["id"] for row in world.source.state()["workflows"] if row["name"] == "Billing")
    world.source.edit(billing, nodes=flow("Billing", node("Later"))["nodes"])
    world.capture(world.staging)
    replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert [mark.workflow_key for mark in holding(world, promotion)] == ["intake"], "the other one did not move"


def test_a_mark_says_when_it_was_viewed_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    promotion = world.draft("billing")
    asked = {"tenant_id": world.tenant_id, "promotion_id": promotion.pk, "workflow_key": "billing"}
    viewed.set_viewed(**asked, viewed=True, by=world.cast.approver)
    later = clock.now() + timedelta(days=2)
    monkeypatch.setattr("promotions.reviewing.viewed.clock.now", lambda: later)
    viewed.set_viewed(**asked, viewed=True, by=world.cast.approver)
    assert [mark.created_at for mark in holding(world, promotion)] == [later]


def test_reviewing_on_the_page(world: World, base: str) -> None:
    promotion = world.draft("billing")
    viewer, approver = browser(world.cast.viewer, world), browser(world.cast.approver, world)
    address = f"{base}{promotion.pk}/review/billing/"
    sent = viewer.post(address, {"action": "comment", "node": "New step", "text": "Is <b>this</b> meant?"})
    assert sent.status_code == 302
    shown = approver.get(address).content.decode()
    assert (
        "Is &lt;b&gt;this&lt;/b&gt; meant?" in shown
        and "Edit" not in shown.split('id="comment-')[1].split("article")[0]
    )
    part = approver.get(f"{address}?part=text").content.decode()
    assert part.index("New step") < part.index("this&lt;/b&gt; meant?"), "it stands at its node"
    page = approver.get(f"{base}{promotion.pk}/").content.decode()
    assert "1 unresolved comment" in page and "1 comment<" in page
    approver.post(f"{base}{promotion.pk}/", {"action": "submit"})
    comment = _only_comment(world)
    partial = {"HTTP_HX_REQUEST": "true"}
    answer = approver.post(address, {"action": "resolve", "comment": comment.pk, "node": "New step"}, **partial)
    assert "resolved by" in answer.content.decode() and "<html" not in answer.content.decode()
    assert "unresolved comment" not in approver.get(f"{base}{promotion.pk}/").content.decode()
    marked = approver.post(address, {"action": "view"}, **partial).content.decode()
    assert (
        'aria-pressed="true"' in marked and "1 viewed by you" in approver.get(f"{base}{promotion.pk}/").content.decode()
    )
    refused = approver.post(address, {"action": "comment", "node": "New step", "text": " "}, **partial)
    assert refused.status_code == 422 and "A comment says something." in refused.content.decode()
    assert browser(world.cast.stranger, world).get(address).status_code == 404
    assert browser(world.cast.stranger, world).post(address, {"action": "view"}).status_code == 404


def _only_comment(world: World) -> ReviewComment:
    with tenant_scope(world.tenant_id):
        return ReviewComment.objects.get()


def test_the_approve_dialog_says_what_is_not_resolved(world: World, base: str) -> None:
    promotion = world.draft("billing")
    browser(world.cast.operator, world).post(f"{base}{promotion.pk}/", {"action": "submit"})
    said(world, promotion)
    page = browser(world.cast.approver, world).get(f"{base}{promotion.pk}/").content.decode()
    dialog = page.split('id="approve"')[1].split("</dialog>")[0]
    assert "1 comment on its changes is not resolved" in " ".join(dialog.split())


def test_a_comment_by_somebody_else_reaches_an_open_page(world: World, base: str) -> None:
    promotion = world.draft("billing")
    approver = browser(world.cast.approver, world)
    page = approver.get(f"{base}{promotion.pk}/").content.decode()
    seen = page.split("events/?seen=")[1].split('"')[0]
    assert approver.get(f"{base}{promotion.pk}/?part=news&seen={seen}").status_code == 204
    said(world, promotion)
    assert approver.get(f"{base}{promotion.pk}/?part=news&seen={seen}").status_code == 200


def test_over_rest(world: World) -> None:
    promotion = world.draft("billing")
    client, api = Client(), f"/api/v1/promotions/{promotion.pk}"
    viewer, approver = bearer(world.cast.viewer, world.cast.tenant), bearer(world.cast.approver, world.cast.tenant)
    stranger = bearer(world.cast.stranger, world.cast.other_tenant)
    kind: dict[str, Any] = {"content_type": "application/json"}
    made = client.post(f"{api}/comments", {"workflow_key": "billing", "text": "Why?"}, **kind, **viewer)
    assert made.status_code == 201, made.content
    one = f"{api}/comments/{made.json()['comment']['id']}"
    told = client.get(f"{api}/comments", **approver).json()
    assert told["unresolved"] == 1 and told["comments"][0]["author"] == world.cast.viewer.email
    assert client.patch(one, {"text": "mine"}, **kind, **approver).status_code == 403
    assert client.patch(one, {"resolved": True}, **kind, **approver).json()["comment"]["resolved"] is True
    assert client.patch(one, {}, **kind, **approver).status_code == 422
    assert client.delete(one, **approver).status_code == 403
    assert client.delete(one, **viewer).json() == {"deleted": made.json()["comment"]["id"]}
    marked = client.post(f"{api}/viewed", {"workflow_key": "billing"}, **kind, **approver).json()
    assert [row["reviewer"] for row in marked["viewed"]] == [world.cast.approver.email]
    assert client.get(f"{api}/viewed", **viewer).json() == marked
    cleared = client.post(f"{api}/viewed", {"workflow_key": "billing", "viewed": False}, **kind, **approver)
    assert cleared.json() == {"viewed": []}
    for answer in (
        client.get(f"{api}/comments", **stranger),
        client.post(f"{api}/viewed", {"workflow_key": "billing"}, **kind, **stranger),
        client.patch(f"{api}/comments/{uuid.uuid4()}", {"resolved": True}, **kind, **viewer),
    ):
        assert answer.status_code == 404


@pytest.mark.parametrize("view", ["text", "words"])
def test_what_was_said_of_a_node_that_does_not_differ_is_still_shown(world: World, base: str, view: str) -> None:
    promotion = world.draft("billing")
    said(world, promotion, "The address stays.", node="Hook")
    page = browser(world.cast.approver, world).get(f"{base}{promotion.pk}/review/billing/?view={view}")
    assert page.content.decode().count("The address stays.") == 1


def test_what_was_said_of_a_workflow_that_fell_out_of_the_plan_stays(world: World, base: str) -> None:
    promotion = world.draft("billing", "intake")
    said(world, promotion, "Not before Monday.", node="New step")
    with tenant_scope(world.tenant_id):
        Promotion.objects.filter(pk=promotion.pk).update(workflow_keys=["intake"])
    replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    approver, page = browser(world.cast.approver, world), f"{base}{promotion.pk}/"
    shown = approver.get(page).content.decode()
    assert "1 unresolved comment" in shown and "Not before Monday." in shown and "no longer part of" in shown
    address, comment = f"{page}review/billing/", _only_comment(world)
    resolving = {"action": "resolve", "comment": comment.pk, "node": "New step"}
    answer = approver.post(address, resolving, HTTP_HX_REQUEST="true").content.decode()
    assert "resolved by" in answer and "<summary class" not in answer, "nothing more is said of it"
    back = approver.post(address, {**resolving, "action": "reopen"})
    assert back["Location"] == f"{page}#review"
    assert approver.get(f"{page}review/intake/?part=said").status_code == 200
    assert approver.get(f"{page}review/reports/?part=said").status_code == 404


def test_news_of_a_comment_leaves_what_is_open(world: World, base: str) -> None:
    """The page takes the place of itself: differences keep their element, what is noted of them is brought along."""
    promotion, page = world.draft("billing"), browser(world.cast.approver, world)
    home = f"{base}{promotion.pk}/"
    opened = re.search(r'<details class="review" id="([^"]+)" hx-preserve', page.get(home).content.decode())
    said(world, promotion, "And this?", node="New step")
    news = page.get(f"{home}?part=news&seen=old")
    told = news.content.decode()
    assert opened is not None and f'id="{opened[1]}" hx-preserve' in told
    assert '" hx-swap-oob="true"' in told and "discussed" in news["HX-Trigger-After-Settle"]
    text = page.get(f"{home}review/billing/?part=text").content.decode()
    asked = re.search(r'hx-get="([^"]+part=said[^"]+)"', text)
    assert asked is not None
    followed = page.get(unescape(asked[1])).content.decode()
    drawn = set(re.findall(r'id="(said-[^"]+)"', text))
    assert set(re.findall(r'id="(said-[^"]+)" hx-swap-oob', followed)) == drawn, "also what is empty now, and no more"
    assert "And this?" in followed and "<form class" not in followed.split("<details")[0]
    billing = next(row["id"] for row in world.source.state()["workflows"] if row["name"] == "Billing")
    world.source.edit(billing, nodes=flow("Billing", node("Later"))["nodes"])
    world.capture(world.staging)
    replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert f'id="{opened[1]}"' not in page.get(home).content.decode(), "another content is another difference"
    stale = page.get(f"{home}review/billing/?part=said&of={opened[1].removeprefix('diff-')}")
    assert stale["HX-Retarget"] == "#content"


def test_a_target_that_was_changed_behind_its_back_is_told_three_ways(world: World, base: str) -> None:
    """Staging changed the step and production did too: the contradiction stands first, then what each side did."""
    billing = world.by_name()["Billing"]
    world.target.edit(billing["id"], nodes=flow("Billing", node("Theirs"))["nodes"], name="Billing by them")
    world.capture(world.production)
    promotion, reader = world.draft("billing"), browser(world.cast.approver, world)
    for address in (f"{base}{promotion.pk}/review/billing/", f"{base}{promotion.pk}/review/billing/?part=text"):
        answer = reader.get(address)
        shown, three = answer.content.decode(), answer.context["three"]
        assert "Both sides changed" in shown and three.both_changed
        assert any("“Theirs”" in sentence for sentence in three.theirs.sentences)
        assert any("“New step”" in sentence for sentence in three.ours.sentences)
    quiet = world.draft("intake")
    assert "three" not in reader.get(f"{base}{quiet.pk}/review/intake/").context
