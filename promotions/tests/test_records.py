"""A reconcile leaves one record beside the promotions, however often it is told."""

from __future__ import annotations

import contextlib
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from drift.notices import Reconciled
from promotions.models import Promotion
from promotions.running.reconcile_record import record_reconciled
from tenants.scope import tenant_scope
from workflows.models import Environment

pytestmark = pytest.mark.django_db


def test_a_reconcile_is_recorded_once_and_has_a_page(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        environment = Environment.objects.create(
            tenant=cast.tenant, name="Live", slug="live", kind="production", base_url="http://127.0.0.1:1"
        )

    @contextlib.contextmanager
    def fenced() -> Any:
        with tenant_scope(cast.tenant.pk):
            yield

    run: Any = SimpleNamespace(fenced=fenced)
    news = Reconciled(
        run=run,
        tenant_id=cast.tenant.pk,
        environment_id=environment.pk,
        incident_ids=(uuid.uuid4(),),
        items=({"key": "orders", "name": "Orders", "content_hash": "a" * 64},),
        commit_sha="b" * 40,
        comment="hotfix",
        by_id=cast.owner.pk,
        operation_id=uuid.uuid4(),
        create_promotion_record=True,
    )
    first, second = record_reconciled(news), record_reconciled(news)
    assert first == second
    with tenant_scope(cast.tenant.pk):
        made = Promotion.objects.get()
    assert (made.status, made.name, str(made.pk)) == ("COMPLETED", "Reconciled: Orders", first["promotion_id"])
    client = Client()
    client.force_login(cast.owner)
    assert client.get(f"/t/{cast.tenant.slug}/promotions/{made.pk}/").status_code == 200
