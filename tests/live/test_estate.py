"""The main job on an estate: sixty workflows and a chain go from development through staging to production."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import crypto
from promotions.models import Promotion
from promotions.planning import drift_incidents
from sandbox.live import LiveN8n
from tenants.scope import tenant_scope
from workflows.models import Environment

from .estate import Estate, Place, chain, chosen, needed, starts_quietly
from .world import Site

pytestmark = [pytest.mark.live_n8n, pytest.mark.newest_n8n, pytest.mark.timeout(900)]

COUNT = 60
NAMES = ("Development", "Staging", "Production")


@pytest.fixture(scope="module")
def third(pair: tuple[Site, Site]) -> Iterator[Site]:
    """One more n8n of the same version."""
    with LiveN8n(1, version=pair[0].instance.version) as (instance,):
        yield Site(instance)


@pytest.fixture
def estate(live_cast: Any, pair: tuple[Site, Site], third: Site, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.setattr(drift_incidents, "blocking_incidents", lambda **_: [])
    empty: dict[str, Any] = {}

    def known(kind: str) -> bool:
        if kind not in empty:
            empty[kind] = Place(third.instance).empty_credential(kind)
        return empty[kind] is not None

    workflows = chosen(COUNT, known)
    wanted = needed([*workflows, *chain("", {}).values()])
    assert all(known(kind) for kind, _ in wanted)
    sites, environments = {}, {}
    for position, (name, site) in enumerate(zip(NAMES, (third, *pair), strict=True)):
        place = sites[name] = Place(site.instance)
        place.clear()
        place.make_credentials(wanted, empty)
        with tenant_scope(live_cast.tenant.pk):
            environments[name] = Environment.objects.create(
                tenant=live_cast.tenant,
                name=name,
                slug=name.lower(),
                kind=name.lower(),
                position=position,
                base_url=site.instance.base_url,
                api_key_encrypted=crypto.encrypt(site.instance.api_key),
            )
    development = sites["Development"]
    made = Estate(live_cast, sites, environments, development.make_chain("one"))
    for workflow in workflows:
        ident = development.import_(workflow, instead=made.ids["Inner"])
        if starts_quietly(workflow):
            development.api("POST", f"/workflows/{ident}/activate")  # what n8n refuses stays off
    return made


def whole(promotion: Promotion) -> None:
    assert promotion.status == "COMPLETED", (promotion.execution_result or {}).get("error")


def test_an_estate_goes_through_staging_to_production(estate: Estate) -> None:
    development, production = estate.sites["Development"], estate.sites["Production"]
    assert development.credentials and not set(development.credentials.values()) & set(production.credentials.values())
    estate.capture()
    keys = estate.keys()
    assert len(keys) == COUNT + len(estate.ids)
    for source, target in (("Development", "Staging"), ("Staging", "Production")):
        whole(estate.promote(source, target, keys))
        estate.capture(target)
    published = {name for name, raw in development.all().items() if raw["active"]}
    assert {name for name, raw in production.all().items() if raw["active"]} == published
    assert len(published) > 20
    assert answers(production, "one")

    development.change_chain(estate.ids, "two")
    estate.capture("Development")
    for source, target in (("Development", "Staging"), ("Staging", "Production")):
        assert answers(production, "one"), "staging is not production"
        whole(estate.promote(source, target, [key_of(name) for name in estate.ids]))
        estate.capture(target)
    assert answers(production, "two")


def key_of(name: str) -> str:
    return name.lower()


def answers(site: Place, text: str) -> bool:
    """What production runs, from end to end: the call's answer, and what n8n recorded of each workflow of the chain."""
    assert site.answers("front", (200, {"from": text}))
    assert {name: site.said(name) for name in ("Inner", "Tool")} == {"Inner": text, "Tool": f"tool {text}"}
    assert site.last_run("Outer")["mode"] == "integrated" and site.last_run("Front")["mode"] == "webhook"
    status, _ = site.call("front", fail=True)
    assert status == 500
    failed = site.last_run("Front")["data"]["resultData"]["error"]["message"]
    assert failed == f"asked to fail {text}"
    assert site.eventually_said("Trouble", f"trouble {text}")
    agent = site.all()["Agent"]
    version = agent["activeVersion"]["nodes"]
    called = next(n for n in version if n["name"] == "Look it up")["parameters"]["workflowId"]["value"]
    assert called == site.all()["Tool"]["id"] and site.all()["Tool"]["active"]
    prompt = next(n for n in version if n["name"] == "Agent")["parameters"]["options"]["systemMessage"]
    return bool(prompt == f"You are {text}.")
