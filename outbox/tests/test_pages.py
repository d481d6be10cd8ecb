"""The page, the API and the health of events: for platform admins, and with a way out."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core import clock
from core.registry import registry
from outbox import probes, services
from outbox.models import OutboxEvent, ParkedEvent
from tenants.scope import platform_scope
from tenants.tokens import create_token

from .test_delivery import _fail, parked
from .world import World, effects, fill, smash

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def poisoned(world: World, live_cast: Any, later: Any) -> ParkedEvent:
    """One parked event of a tenant."""
    world.trouble = lambda _consumer, label: _fail() if label == "bad" else None
    fill(live_cast.tenant, "bad", "good")
    while not parked():
        services.run_round()
        later()
    world.trouble = lambda _consumer, _label: None
    (row,) = parked()
    return row


def browser(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_an_admin_sees_what_is_parked_and_retries_it(live_cast: Any, poisoned: ParkedEvent) -> None:
    client = browser(live_cast.admin)
    page = client.get("/platform/events/").content.decode()
    assert "Bottle filled" in page and "ValueError: poison" in page and "Acme Robotics" in page
    assert client.post(f"/platform/events/{poisoned.pk}/retry/").status_code == 302
    assert "Retry pending" in client.get("/platform/events/").content.decode()
    services.run_round()
    assert effects("test.count") == ["good", "bad"]
    assert "No event is parked." in client.get("/platform/events/").content.decode()
    assert client.post(f"/platform/events/{poisoned.pk}/retry/").status_code == 404


def test_an_admin_dismisses_one(live_cast: Any, poisoned: ParkedEvent) -> None:
    client = browser(live_cast.admin)
    assert client.post(f"/platform/events/{poisoned.pk}/dismiss/").status_code == 302
    services.run_round()
    assert effects("test.count") == ["good"] and parked() == []


@pytest.mark.parametrize("who", ["owner", "support", "officer", "stranger"])
def test_nobody_else_sees_or_settles_them(live_cast: Any, poisoned: ParkedEvent, who: str) -> None:
    client = browser(getattr(live_cast, who))
    assert client.get("/platform/events/").status_code in (403, 404)
    for what in ("retry", "dismiss"):
        assert client.post(f"/platform/events/{poisoned.pk}/{what}/").status_code in (403, 404)
    assert [row.retry_requested_at for row in parked()] == [None]


def api(token: str, method: str, path: str) -> Any:
    return Client().generic(method, f"/api/v1/outbox/{path}", headers={"Authorization": f"Bearer {token}"})


def _token(by: Any, **more: Any) -> str:
    return create_token(user=by, name="t", **more)[1]


def test_the_api_says_the_same(live_cast: Any, poisoned: ParkedEvent) -> None:
    token = _token(live_cast.admin)
    consumers = {row["name"]: row for row in api(token, "GET", "consumers").json()["consumers"]}
    assert (consumers["test.count"]["parked"], consumers["test.count"]["waiting"]) == (1, 0)
    (row,) = api(token, "GET", "parked").json()["parked"]
    assert (row["id"], row["tenant"], row["event"]) == (str(poisoned.pk), "acme", "bottle.filled")
    asked = api(token, "POST", f"parked/{poisoned.pk}/retry")
    assert asked.status_code == 200 and asked.json()["parked"]["retry_requested_at"]
    assert api(token, "POST", f"parked/{poisoned.pk}/dismiss").json() == {"dismissed": str(poisoned.pk)}
    assert api(token, "POST", f"parked/{poisoned.pk}/dismiss").status_code == 404


def test_the_api_is_for_admins(live_cast: Any, poisoned: ParkedEvent) -> None:
    token = _token(live_cast.owner)
    for method, path in (("GET", "consumers"), ("GET", "parked"), ("POST", f"parked/{poisoned.pk}/retry")):
        assert api(token, method, path).status_code == 403
        assert api(token, method, path).json()["error"]["code"] == "FORBIDDEN"


def test_health_says_who_is_behind_and_what_is_parked(world: World, live_cast: Any) -> None:
    smash(live_cast.tenant, "a")
    probe = probes.consumers()
    assert probe["status"] == "ok" and probe["consumers"]["test.count"]["waiting"] == 1
    with platform_scope():
        OutboxEvent.objects.update(occurred_at=clock.now() - timedelta(seconds=probes.LATE_AFTER_SECONDS + 10))
    probe = probes.consumers()
    assert probe["status"] == "failed" and "behind" in probe["message"]
    services.run_round()
    assert probes.consumers()["status"] == "ok"


def test_health_counts_what_waits_behind_a_failing_event(world: World, live_cast: Any) -> None:
    world.trouble = lambda _consumer, label: _fail() if label == "bad" else None
    fill(live_cast.tenant, "bad", "behind it")
    fill(live_cast.other_tenant, "theirs")
    services.run_round()
    found = probes.consumers()["consumers"]["test.count"]
    assert (found["waiting"], found["delayed_tenants"]) == (2, 1)


def test_a_parked_event_is_no_good_health(live_cast: Any, poisoned: ParkedEvent) -> None:
    probe = probes.consumers()
    assert (probe["status"], probe["message"]) == ("failed", "1 parked event waits for a person.")
    assert "outbox" in registry.health_components()
    assert isinstance(poisoned.pk, uuid.UUID)
