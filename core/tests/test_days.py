"""What charts count by day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client

from core import clock
from core.days import SHOWN, by_day
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows.models import Environment

pytestmark = pytest.mark.django_db


@pytest.fixture
def captured(cast: Any) -> None:
    """Two snapshots today, one the day before, one too long ago."""
    with tenant_scope(cast.tenant.pk):
        place = Environment.objects.create(tenant=cast.tenant, name="Production", slug="production", kind="production")
        for days in (0, 0, 1, SHOWN + 1):
            Snapshot.objects.create(
                tenant=cast.tenant, environment=place, snapshot_type="scheduled", total_bytes=2_000_000,
                created_at=clock.now() - timedelta(days=days),
            )  # fmt: skip


def test_every_day_is_there_and_what_is_older_is_not(cast: Any, captured: None) -> None:
    with tenant_scope(cast.tenant.pk):
        counted, sizes = by_day(Snapshot.objects.all()), by_day(Snapshot.objects.all(), of=Sum("total_bytes"))
        assert by_day(Snapshot.objects.none()) == []
    assert len(counted) == SHOWN and len({day for day, _ in counted}) == SHOWN
    assert [n for _, n in counted[-2:]] == [1, 2] and sum(n for _, n in counted) == 3
    assert sizes[-1][1] == 4_000_000


def test_the_page_draws_it_with_its_table(cast: Any, captured: None, client: Client) -> None:
    client.force_login(cast.viewer)
    page = client.get("/t/acme/snapshots/").content.decode()
    assert "Captured by day" in page and page.count('class="bar"') == SHOWN and "Show as a table" in page
    assert "style=" not in page.split("Captured by day")[1].split("</figure>")[0]
