"""The demo's first tenant on n8n instances that are spoken to as real ones are: begun, broken off, begun again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from opsconsole.demo import builder
from opsconsole.demo.catalogue import FLOWS
from opsconsole.demo.sites import N8nSite, insert_after
from opsconsole.demo.story import STOCK_CHECK, Story
from promotions.models import Promotion
from sandbox.live import NEWEST, LiveN8n
from sandbox.testing import SandboxInstance, SandboxServer
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope


@pytest.fixture
def instance(request: pytest.FixtureRequest) -> Iterator[SandboxInstance]:
    with SandboxServer() as server:
        yield server.control.create(profile=request.param)


def seeded(instance: SandboxInstance) -> N8nSite:
    """A program's first look at the instance: it knows nothing of earlier ones."""
    site = N8nSite(instance.base_url, instance.api_key)
    site.seed(FLOWS)
    return site


def standing(instance: SandboxInstance) -> dict[str, Any]:
    """What is there; credentials aside, which older n8n does not list, so that they are made anew."""
    kept = ("id", "connections", "active", "tags")
    found = instance.state()["workflows"]
    nodes = {row["name"]: [{**node, "credentials": None} for node in row["nodes"]] for row in found}
    return {row["name"]: {"nodes": nodes[row["name"]], **{key: row[key] for key in kept}} for row in found}


@pytest.mark.parametrize("instance", ["1.123", "2.41"], indirect=True)
def test_what_a_broken_off_start_has_left_is_as_at_the_beginning_again(instance: SandboxInstance) -> None:
    site = seeded(instance)
    before, credentials = standing(instance), len(instance.state()["credentials"])
    site.edit("order-intake", insert_after("Complete?", STOCK_CHECK))
    site.switch("order-intake", False)
    assert standing(instance) != before
    seeded(instance)
    assert standing(instance) == before
    if instance.state()["profile"] == "2.41":
        assert len(instance.state()["credentials"]) == credentials, "the ones that are there are used again"


@pytest.mark.live_n8n
@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_the_story_is_told_on_real_instances(
    n8n_version: str, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second start: the first is broken off in its middle."""
    if n8n_version != NEWEST:
        pytest.skip("the demo is for the newest one")
    settings.MODE, settings.GIT_ROOT, settings.SANDBOX_URL = "demo", tmp_path / "git", ""
    with LiveN8n(3, version=n8n_version) as running:
        given = [{"base_url": one.base_url, "api_key": one.api_key} for one in running]
        monkeypatch.setenv("N8N_INSTANCES", json.dumps(given))
        with monkeypatch.context() as broken:
            broken.setattr(Story, "_into_production", lambda *_, **__: pytest.fail("broken off"))
            with pytest.raises(pytest.fail.Exception):
                builder.build(people_are_there=lambda: None)
        builder.build(people_are_there=lambda: None)
    with platform_scope():
        tenant = Tenant.objects.get(slug="larkfield")
    with tenant_scope(tenant.pk):
        failed = Promotion.objects.get(status="FAILED")
        assert failed.execution_result["rollback_result"]["status"] == "success", failed.execution_result
