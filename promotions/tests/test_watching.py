"""Starters that a promotion could not prove are watched afterwards, and people are told once of what is bad."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse

from core import clock
from promotions import services
from promotions.models import Promotion
from promotions.tests.world import World, flow, node
from snapshots.models import Snapshot
from snapshots.restore import start_restore
from tenants.models import Membership
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.executions import collecting
from workflows.models import StarterWatch, Telling, WatchState
from workflows.watching import services as watching
from workflows.watching import telling, verdicts, waking

MINUTELY = {"field": "minutes", "minutesInterval": 1}
NO_CRON = {"field": "cronExpression", "expression": "not a cron"}


def every(*rules: dict[str, Any], name: str = "Every", **more: Any) -> dict[str, Any]:
    return node(name, "n8n-nodes-base.scheduleTrigger", parameters={"rule": {"interval": list(rules)}}, **more)


def scheduled(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A published workflow that only the nodes given start."""
    return {**flow(name, *nodes, active=True), "nodes": list(nodes), "connections": {}, **more}


@pytest.fixture
def world(empty_world: World) -> World:
    """Two empty instances."""
    return empty_world


@pytest.fixture
def promote(world: World) -> Callable[..., Promotion]:
    """Make workflows in staging and promote them, published."""

    def act(*workflows: dict[str, Any], profile: str = "2.41") -> Promotion:
        world.source.change(profile=profile)
        world.target.change(profile=profile)
        world.source.seed(list(workflows))
        world.capture()
        keys = [key_of(world, one["name"]) for one in workflows]
        done = world.carry_out(world.approved(*keys, active="copy"))
        assert done.status == "COMPLETED", done.execution_result
        return done

    return act


def key_of(world: World, name: str) -> str:
    from workflows.models import CanonicalWorkflow

    with tenant_scope(world.tenant_id):
        return CanonicalWorkflow.objects.get(name=name).key


def watches(world: World, **narrowed: Any) -> list[StarterWatch]:
    with tenant_scope(world.tenant_id):
        return list(StarterWatch.objects.filter(**narrowed).order_by("since", "workflow_name", "node"))


def only(world: World, **narrowed: Any) -> StarterWatch:
    (found,) = watches(world, **narrowed)
    return found


def pass_time(world: World, **span: float) -> None:
    """Let everything that is watched have been published longer ago."""
    past = timedelta(**span)
    with tenant_scope(world.tenant_id):
        for watch in StarterWatch.objects.all():
            for name in ("since", "due_at", "deadline", "next_look_at", "asked_at", "tell_at"):
                if (at := getattr(watch, name)) is not None:
                    setattr(watch, name, at - past)
            watch.save()


def runs(world: World, name: str, **fields: Any) -> None:
    world.target.add_executions({"workflow_id": world.by_name()[name]["id"], **fields})
    assert collecting.collect(world.production) is not None


def look(world: World) -> int:
    return watching.look(world.tenant_id, world.production.pk)


# -- what is taken down -----------------------------------------------------------------------------------------------


def test_what_could_not_be_proven_is_listed_and_watched(world: World, promote: Any) -> None:
    done = promote(
        scheduled("Clock", every(MINUTELY)),
        flow("Front", active=True),
        scheduled("Sub", node("In", "n8n-nodes-base.executeWorkflowTrigger")),
    )
    found = only(world)
    assert (found.workflow_name, found.node, found.kind) == ("Clock", "Every", "schedule")
    assert found.operation_id == done.operation_id
    assert found.version_id == world.by_name()["Clock"]["activeVersionId"]
    assert found.deadline - found.since == timedelta(seconds=10) + timedelta(minutes=16)
    told = done.execution_result["verification"]["not_proven"]
    assert [(row["name"], row["addresses"], row["starters"][0]["node"]) for row in told] == [("Clock", [], "Every")]


def test_nothing_is_looked_at_while_the_job_is_at_work(world: World, promote: Any) -> None:
    from operations.models import Operation

    done = promote(scheduled("Clock", every(NO_CRON)))
    pass_time(world, minutes=1)
    with tenant_scope(world.tenant_id):
        Operation.objects.filter(pk=done.operation_id).update(status="RUNNING")
    assert look(world) == 0
    with tenant_scope(world.tenant_id):
        Operation.objects.filter(pk=done.operation_id).update(status="COMPLETED")
    assert look(world) == 1


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_a_run_by_its_trigger_proves_a_schedule_and_one_by_hand_does_not(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    pass_time(world, minutes=1)
    runs(world, "Clock", mode="manual")
    assert look(world) == 0
    pass_time(world, minutes=5)
    runs(world, "Clock", mode="trigger")
    assert look(world) == 1
    found = only(world)
    assert (found.state, found.run_status, found.telling) == (WatchState.PROVEN, "success", Telling.NOBODY)
    assert look(world) == 0 and not mail.outbox


def test_a_run_of_before_the_publishing_proves_nothing(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    early = (clock.now() - timedelta(minutes=5)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    runs(world, "Clock", mode="trigger", started=early, stopped=early)
    pass_time(world, minutes=1)
    assert look(world) == 0


def test_a_run_that_failed_proves_the_trigger_and_is_shown(world: World, promote: Any, client: Client) -> None:
    done = promote(scheduled("Clock", every(MINUTELY)))
    pass_time(world, minutes=1)
    runs(world, "Clock", mode="trigger", status="error")
    look(world)
    found = only(world)
    assert (found.state, found.run_status) == (WatchState.PROVEN, "error")
    client.force_login(world.cast.operator)
    assert "Starts, and fails" in page(client, world, done)


def test_a_schedule_that_is_no_cron_is_bad_within_one_round(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(NO_CRON)))
    pass_time(world, seconds=20)
    assert look(world) == 1
    found = only(world)
    assert found.state == WatchState.BAD
    assert found.note == "n8n says that it is published, but never starts it: “not a cron” is no cron expression."


def test_a_published_one_without_a_trigger_is_bad(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    broken = scheduled("Clock", every(NO_CRON))["nodes"]
    world.target.edit(world.by_name()["Clock"]["id"], nodes=broken)
    world.target.change(profile="2.41")
    with tenant_scope(world.tenant_id):  # as if this had been what was published
        StarterWatch.objects.update(version_id=world.by_name()["Clock"]["activeVersionId"])
    raw = world.by_name()["Clock"]
    watch = only(world)
    assert verdicts._by_state(watch, {**raw, "triggerCount": 0}, watch.since + timedelta(seconds=30)) is None
    found = verdicts._by_state(watch, {**raw, "triggerCount": 0}, watch.since + timedelta(seconds=90))
    assert found is not None and found.state == WatchState.BAD


def test_what_n8n_takes_back_at_once_is_bad_and_what_somebody_switches_off_later_is_not(
    world: World, promote: Any
) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    world.target.edit(world.by_name()["Clock"]["id"], active=False)
    pass_time(world, seconds=20)
    look(world)
    assert only(world).state == WatchState.BAD

    promote(scheduled("Other", every(MINUTELY)))
    pass_time(world, seconds=20)
    look(world)
    world.target.edit(world.by_name()["Other"]["id"], active=False)
    pass_time(world, minutes=2)
    look(world)
    assert only(world, workflow_name="Other").state == WatchState.SUPERSEDED


@pytest.mark.parametrize("what", ["deleted", "edited", "archived"])
def test_what_is_replaced_in_n8n_is_no_false_alarm(world: World, promote: Any, what: str) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    ident = world.by_name()["Clock"]["id"]
    if what == "deleted":
        world.target.delete_workflow(ident)
    elif what == "archived":
        world.target.archive(ident)
    else:
        world.target.edit(ident)
    pass_time(world, minutes=20)
    look(world)
    found = only(world)
    assert (found.state, found.telling) == (WatchState.SUPERSEDED, Telling.NOBODY)


def test_silence_past_the_deadline_is_said_plainly_once_executions_were_read(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    pass_time(world, hours=1)
    assert look(world) == 0, "nobody has read n8n's executions yet"
    assert collecting.collect(world.production) is not None
    pass_time(world, minutes=5)
    assert look(world) == 1
    found = only(world)
    assert found.state == WatchState.GIVEN_UP and found.note.startswith("Never seen to run since. By its rule")
    assert len(mail.outbox) == 1


def test_the_silence_of_a_poller_is_no_alarm(world: World, promote: Any) -> None:
    feed = node("Feed", "n8n-nodes-base.rssFeedReadTrigger", parameters={"feedUrl": "https://feed.invalid"})
    promote(scheduled("News", feed))
    assert only(world).due_at is None
    pass_time(world, hours=25)
    assert collecting.collect(world.production) is not None
    look(world)
    found = only(world)
    assert found.state == WatchState.GIVEN_UP
    assert found.note == (
        "Never seen to run since. It runs only when it finds something new, so that may be as it should."
    )
    assert not mail.outbox and found.telling == Telling.NOBODY


def test_executions_that_cannot_be_read_end_in_not_knowing(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    pass_time(world, hours=26)
    look(world)
    found = only(world)
    assert found.state == WatchState.GIVEN_UP and found.note.startswith("Nobody knows whether it has run")
    assert not mail.outbox


def test_of_two_schedules_the_one_that_ran_is_proven(world: World, promote: Any) -> None:
    promote(scheduled("Two", every(MINUTELY, name="A"), every(MINUTELY, name="B")))
    pass_time(world, minutes=1)
    runs(world, "Two", mode="trigger", node="B")
    look(world)
    assert [(w.node, w.state) for w in watches(world)] == [("A", "watched"), ("B", "proven")]
    pass_time(world, hours=1)
    assert collecting.collect(world.production) is not None
    pass_time(world, minutes=1)
    look(world)
    assert watches(world)[0].state == WatchState.GIVEN_UP and not mail.outbox


def test_an_address_that_could_not_be_asked_about_is_asked_again(
    world: World, promote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.n8n.client import N8nClient

    real = N8nClient.listening
    monkeypatch.setattr(N8nClient, "listening", lambda self, address: "unknown")
    promote(flow("Front", active=True), flow("Back", active=True))
    monkeypatch.setattr(N8nClient, "listening", real)
    assert [(w.kind, w.address) for w in watches(world)] == [("address", "GET back"), ("address", "GET front")]
    world.target.make_deaf(world.by_name()["Back"]["id"])
    pass_time(world, seconds=20)
    look(world)
    back, front = watches(world)
    assert (front.state, back.state) == (WatchState.PROVEN, WatchState.BAD)
    assert back.note == "n8n does not answer at GET back."


def test_an_n8n_that_is_away_settles_nothing(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    pass_time(world, seconds=20)
    world.target.fault(kind="status", status=503, path="/workflows/", times=20)
    assert look(world) == 0
    assert only(world).state == WatchState.WATCHED


def test_what_was_bad_and_is_mended_in_n8n_or_runs_late_is_said_to_be_so(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(NO_CRON)), scheduled("Late", every(MINUTELY)))
    pass_time(world, hours=1)
    assert collecting.collect(world.production) is not None
    pass_time(world, minutes=5)
    look(world)
    assert [w.state for w in watches(world)] == [WatchState.BAD, WatchState.GIVEN_UP]
    world.target.edit(world.by_name()["Clock"]["id"], nodes=[every(MINUTELY)])
    runs(world, "Late", mode="trigger")
    pass_time(world, hours=2)
    look(world)
    assert [w.state for w in watches(world)] == [WatchState.SUPERSEDED, WatchState.PROVEN]
    assert len(mail.outbox) == 1


# -- who is told ------------------------------------------------------------------------------------------------------


def test_everybody_concerned_is_told_once(world: World, promote: Any) -> None:
    done = promote(scheduled("Clock", every(NO_CRON)), scheduled("Watch", every(NO_CRON)))
    pass_time(world, seconds=20)
    look(world)
    pass_time(world, minutes=20)
    look(world)
    (sent,) = mail.outbox
    cast = world.cast
    assert {cast.owner.email, cast.operator.email, cast.approver.email} <= set(sent.to)
    assert cast.viewer.email not in sent.to
    assert sent.subject == "[OpsConsole] Clock and 1 more do not start in Production"
    assert "“not a cron” is no cron expression" in sent.body and str(done.operation_id) in sent.body
    assert f"/workflow/{world.by_name()['Clock']['id']}" in sent.body
    found = watches(world)
    assert {w.telling for w in found} == {Telling.TOLD} and found[0].told_note.startswith("Told by mail: ")


def test_somebody_who_has_left_the_tenant_is_not_told(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(NO_CRON)))
    with tenant_scope(world.tenant_id):
        Membership.objects.filter(user=world.cast.approver).delete()
    pass_time(world, seconds=20)
    look(world)
    assert world.cast.approver.email not in mail.outbox[0].to


def test_a_server_that_refuses_is_asked_again_and_in_the_end_the_page_says_so(
    world: World, promote: Any, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    done = promote(scheduled("Clock", every(NO_CRON)))

    def refuse(message: EmailMessage, *args: Any, **kwargs: Any) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(EmailMessage, "send", refuse)
    pass_time(world, seconds=20)
    look(world)
    assert (only(world).telling, only(world).state) == (Telling.WAITING, WatchState.BAD)
    for _ in range(telling.TRIES):
        pass_time(world, hours=2)
        look(world)
    found = only(world)
    assert (found.telling, found.tell_attempt) == (Telling.FAILED, telling.TRIES)
    client.force_login(world.cast.operator)
    assert "The mail about it could not be sent. The mail server refused" in page(client, world, done)


def test_a_broken_line_is_not_tried_twice(world: World, promote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(scheduled("Clock", every(NO_CRON)))
    tries = []

    def drop(message: EmailMessage, *args: Any, **kwargs: Any) -> int:
        tries.append(message)
        raise ConnectionResetError

    monkeypatch.setattr(EmailMessage, "send", drop)
    pass_time(world, seconds=20)
    look(world)
    pass_time(world, hours=2)
    look(world)
    assert (only(world).telling, len(tries)) == (Telling.UNKNOWN, 1)


def test_a_worker_killed_while_it_tells_leaves_it_unknown(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(NO_CRON)))
    pass_time(world, seconds=20)
    verdicts.settle(world.production)
    assert len(telling._claim(world.production)) == 1
    assert telling.tell(world.production) == 0, "another worker leaves it alone"
    pass_time(world, minutes=11)
    telling.tell(world.production)
    assert only(world).telling == Telling.UNKNOWN and not mail.outbox


def test_the_beat_wakes_what_is_due_and_nothing_else(
    world: World, promote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[Any] = []
    monkeypatch.setattr(waking, "_wake", lambda *ids: woken.append(ids))
    promote(scheduled("Clock", every(NO_CRON)))
    assert waking.wake_due() == 0, "it is too new"
    pass_time(world, seconds=20)
    assert waking.wake_due() == 1
    assert woken == [(world.tenant_id, world.production.pk)]
    look(world)
    assert waking.wake_due() == 0


# -- what comes after -------------------------------------------------------------------------------------------------


def test_a_rollback_lets_go_of_what_is_watched_and_watches_what_runs_again(world: World, promote: Any) -> None:
    first = promote(scheduled("Clock", every(MINUTELY)))
    ident = next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Clock")
    world.source.edit(ident, nodes=[every({"field": "minutes", "minutesInterval": 7})])
    world.capture()
    second = world.carry_out(world.approved(key_of(world, "Clock"), active="copy"))
    assert second.status == "COMPLETED", second.execution_result
    before, now = watches(world)
    assert (before.operation_id, before.state) == (first.operation_id, WatchState.SUPERSEDED)
    assert (now.operation_id, now.state) == (second.operation_id, WatchState.WATCHED)
    back = services.rollback(
        tenant_id=world.tenant_id, promotion_id=second.pk, by=world.cast.operator, reason="It was wrong."
    )
    assert world.drive(back) == "COMPLETED"
    assert [(w.state, w.operation_id) for w in watches(world)][1:] == [
        (WatchState.SUPERSEDED, second.operation_id),
        (WatchState.WATCHED, back.pk),
    ]
    with tenant_scope(world.tenant_id):
        operation = type(back).objects.select_related("tenant").get(pk=back.pk)
        to = telling.recipients(world.production, operation)
    assert world.cast.approver.email in to, "who approved the promotion is concerned by its rollback"


def test_the_page_of_a_rolled_back_one_watches_only_what_runs_again(world: World, promote: Any, client: Client) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    ident = next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Clock")
    world.source.edit(ident, nodes=[every({"field": "minutes", "minutesInterval": 7})])
    world.capture()
    done = world.carry_out(world.approved(key_of(world, "Clock"), active="copy"))
    client.force_login(world.cast.operator)
    assert "Watched since it was published" in page(client, world, done)
    back = services.rollback(tenant_id=world.tenant_id, promotion_id=done.pk, by=world.cast.operator, reason="Wrong.")
    assert world.drive(back) == "COMPLETED"
    shown = page(client, world, done)
    assert "Runs again since the rollback" in shown and shown.count("Not proven yet") == 1
    assert "Watched since it was published" not in shown and "No longer watched" not in shown


def test_a_restore_is_watched_as_well(world: World, promote: Any) -> None:
    promote(scheduled("Clock", every(MINUTELY)))
    world.capture(world.production)
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.filter(environment=world.production).latest("created_at")
    world.target.edit(world.by_name()["Clock"]["id"])
    operation = start_restore(
        tenant_id=world.tenant_id, environment_id=world.production.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    found = only(world, operation_id=operation.pk)
    assert (found.node, found.state) == ("Every", WatchState.WATCHED)


@pytest.mark.parametrize("profile", ["1.123", "2.0", "2.41"])
def test_a_webhook_without_an_id_is_asked_where_it_listens(world: World, promote: Any, profile: str) -> None:
    """In an older n8n its address holds the workflow's own id; a newer one gives it an id."""
    front = flow("Front", active=True)
    del front["nodes"][0]["webhookId"]
    done = promote(front, profile=profile)
    (row,) = done.execution_result["verification"]["workflows"]
    path = "front" if profile == "2.41" else f"{world.by_name()['Front']['id']}/hook/front"
    assert row["listening"] == {f"GET {path}": "listening"}
    assert watches(world) == []


@pytest.mark.parametrize("profile", ["1.123", "2.0"])
def test_older_n8n_is_watched_alike(world: World, promote: Any, profile: str) -> None:
    promote(scheduled("Clock", every(MINUTELY)), profile=profile)
    pass_time(world, minutes=1)
    look(world)
    assert only(world).state == WatchState.WATCHED, "the version that runs is the one that was published"
    runs(world, "Clock", mode="trigger")
    pass_time(world, minutes=5)
    look(world)
    assert only(world).state == WatchState.PROVEN


# -- where it is shown ------------------------------------------------------------------------------------------------


def page(client: Client, world: World, promotion: Promotion, part: str = "") -> str:
    url = reverse("promotion", kwargs={"tenant_slug": world.cast.tenant.slug, "pk": promotion.pk})
    answer = client.get(f"{url}?part={part}" if part else url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_its_pages_show_the_state_and_what_to_do(world: World, promote: Any, client: Client) -> None:
    done = promote(scheduled("Clock", every(NO_CRON)))
    client.force_login(world.cast.operator)
    assert "Not proven yet" in page(client, world, done)
    assert 'hx-trigger="every' in page(client, world, done, "watched"), "it asks again by itself"
    pass_time(world, seconds=20)
    look(world)
    slug = world.cast.tenant.slug
    environment = reverse("environment", kwargs={"tenant_slug": slug, "pk": world.production.pk})
    workflow = reverse("workflow", kwargs={"tenant_slug": slug, "key": key_of(world, "Clock")})
    in_n8n = f"/workflow/{world.by_name()['Clock']['id']}"
    for shown in (page(client, world, done), *(client.get(url).content.decode() for url in (environment, workflow))):
        assert "Does not start" in shown and in_n8n in shown and "no cron expression" in shown
        assert "Told by mail" in shown
    assert "hx-trigger" not in page(client, world, done, "watched"), "nothing changes any more"


def test_programs_are_told_too(world: World, promote: Any, client: Client) -> None:
    done = promote(scheduled("Clock", every(NO_CRON)))
    pass_time(world, seconds=20)
    look(world)
    headers = {"Authorization": f"Bearer {create_token(user=world.cast.operator, name='t')[1]}"}
    answer = client.get(f"/api/v1/promotions/{done.pk}", headers=headers).json()["promotion"]
    (row,) = answer["watched"]
    assert (row["state"], row["node"], row["told"]) == ("bad", "Every", "told")
    url = f"/api/v1/environments/{world.production.pk}/watched"
    assert [one["id"] for one in client.get(url, headers=headers).json()["watched"]] == [row["id"]]
    foreign = {"Authorization": f"Bearer {create_token(user=world.cast.stranger, name='t')[1]}"}
    assert client.get(url, headers=foreign).status_code == 404
