"""What happened to an environment lately: behind the console's back and through it, with who did it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core import clock
from drift import services
from drift.models import DriftIncident
from operations.models import Operation
from tenants.scope import tenant_scope
from tests.reading import flat

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def page(site: Any, person: Any, period: str = "") -> str:
    client = Client()
    client.force_login(person)
    answer = client.get(f"/t/{site.tenant.slug}/environments/{site.environment.pk}/?since={period}")
    return flat(answer.content.decode()).split("What changed")[1].split("Connection")[0]


def test_who_changed_what_since_yesterday(site: Any, live_cast: Any) -> None:
    assert "Nothing in this time" in page(site, live_cast.viewer)

    site.n8n.edit(site.ids["Orders"], author="Maya Okafor", name="Orders", nodes=workflow("Orders", text="x")["nodes"])
    site.check()
    shown = page(site, live_cast.viewer)
    assert "Orders: changed outside the console" in shown
    assert "Maya Okafor, as n8n tells" in shown

    services.stabilize(
        tenant_id=site.tenant.pk, incident_ids=[site.incident().pk], comment="Back", requested_by=live_cast.operator
    )
    site.run_all()
    with tenant_scope(site.tenant.pk):
        tried = Operation.objects.get(kind="drift.stabilize")
        for n, params in enumerate(({"dry_run": True}, {"dry_run": False})):
            tried.pk, tried.title, tried.params = uuid.uuid4(), f"Restore no. {n}", params
            tried.idempotency_key = str(tried.pk)
            tried.save(force_insert=True)
    shown = page(site, live_cast.viewer)
    assert "Restore no. 1" in shown and "Restore no. 0" not in shown, "a trial changed nothing"
    assert shown.index("Stabilized Orders") < shown.index("Orders: changed outside the console")
    assert live_cast.operator.name in shown
    assert "Invoices" not in shown


def test_a_longer_period_tells_what_a_shorter_one_leaves_out(site: Any, live_cast: Any) -> None:
    site.edit("Orders", text="other")
    site.check()
    with tenant_scope(site.tenant.pk):
        long_ago = clock.now() - timedelta(days=5)
        DriftIncident.objects.update(created_at=long_ago)
        Operation.objects.update(created_at=long_ago)
    assert "Orders" not in page(site, live_cast.viewer)
    assert "Orders" in page(site, live_cast.viewer, "7d")
    assert "Orders" not in page(site, live_cast.viewer, "nonsense")
