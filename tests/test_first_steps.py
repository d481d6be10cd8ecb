"""What a new tenant is told to do first, and that adding an n8n ends with its first capture."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from core import clock
from operations.models import Heartbeat, Operation
from promotions.models import Promotion
from sandbox.testing import SandboxServer
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows import first_steps
from workflows.models import Environment

STEPS = ["Add your n8n", "Capture it", "Add the environment that comes next", "Promote a workflow", "Take it back"]


def home(client: Client) -> str:
    return client.get("/t/acme/").content.decode()


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_tenant_with_nothing_is_told_what_comes_first(cast: Any) -> None:
    page = home(signed_in(cast.owner))
    assert [page.index(words) for words in STEPS] == sorted(page.index(words) for words in STEPS)
    assert page.count('aria-current="step"') == 1
    assert "First steps" not in home(signed_in(cast.viewer)), "who may only look has nothing to do"
    operators = home(signed_in(cast.operator))
    assert "An owner of the tenant does this." in operators
    assert '<a class="button primary" href="/t/acme/environments/new/">Add your n8n' not in operators


def test_steps_are_hidden_for_whoever_hides_them(cast: Any) -> None:
    owner = signed_in(cast.owner)
    assert owner.post("/t/acme/first-steps/hide/").status_code == 302
    assert "First steps" not in home(owner)
    assert "First steps" in home(signed_in(cast.operator))


@pytest.fixture
def n8n() -> Any:
    with SandboxServer() as server:
        yield server.control.create("first")


def add(client: Client, tenant: Any, base_url: str, key: str) -> Environment:
    told = {"name": "Dev", "slug": "dev", "kind": "dev", "base_url": base_url, "api_key": key, "capture_every": "0"}
    assert client.post("/t/acme/environments/new/", told).status_code == 302
    with tenant_scope(tenant.pk):
        return Environment.objects.get(slug="dev")


def test_an_address_and_a_key_end_with_the_first_capture(live_cast: Any, n8n: Any, run_operations: Any) -> None:
    n8n.generate(2)
    owner = signed_in(live_cast.owner)
    add(owner, live_cast.tenant, n8n.base_url, n8n.api_key)
    assert run_operations(live_cast.tenant) == ["COMPLETED", "COMPLETED"]
    with tenant_scope(live_cast.tenant.pk):
        made = Snapshot.objects.get()
        assert (made.workflow_count, made.snapshot_type) == (2, "baseline")
        assert Operation.objects.get(kind="snapshots.capture").requested_by_id == live_cast.owner.pk
    page = home(owner)
    assert page.index("Add the environment that comes next") > page.index('aria-current="step"')


def test_a_wrong_key_ends_without_one_and_says_so(live_cast: Any, n8n: Any, run_operations: Any) -> None:
    owner = signed_in(live_cast.owner)
    made = add(owner, live_cast.tenant, n8n.base_url, "wrong")
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    assert "API key" in owner.get(f"/t/acme/environments/{made.pk}/").content.decode()


def test_examples_of_the_demo_do_not_count_as_done(cast: Any, settings: Any) -> None:
    settings.MODE = "demo"
    assert first_steps.end_of_examples("acme") is None
    beat = Heartbeat.objects.create(name="demo:acme", seen_at=clock.now())
    assert first_steps.end_of_examples("acme") == beat.seen_at


def test_who_has_promoted_twice_is_not_led_to_taking_one_back(cast: Any) -> None:
    owner = signed_in(cast.owner)
    with tenant_scope(cast.tenant.pk):
        dev, prod = (
            Environment.objects.create(tenant=cast.tenant, name=name, slug=name, kind=name, base_url="http://n8n.test")
            for name in ("dev", "production")
        )
        made = {"tenant": cast.tenant, "source_environment": dev, "target_environment": prod, "status": "COMPLETED"}
        Promotion.objects.create(name="One", **made)
    assert "Take it back" in home(owner)
    with tenant_scope(cast.tenant.pk):
        Promotion.objects.create(name="Two", **made)
    assert "First steps" not in home(owner)
