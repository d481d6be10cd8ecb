"""What charts count by day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Q, Sum
from django.test import Client

from core import clock
from core.charts import bars, stacked
from core.days import SHOWN, by_day, parts_by_day
from promotions.models import Promotion
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows.models import Environment, Execution

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


def test_columns_are_cut_by_how_it_ended_with_right_units(cast: Any, captured: None) -> None:
    with tenant_scope(cast.tenant.pk):
        rows = parts_by_day(Snapshot.objects.all(), [Q(total_bytes__gt=1), Q(snapshot_type="manual_backup")], days=2)
    assert [values for _, values in rows] == [[1, 0], [2, 0]]
    drawn = stacked(rows, [("Large", "completed"), ("By hand", "failed")], title="Captures", unit="captures")
    assert drawn.count('class="bar tone-good"') == 2 and "tone-bad" in drawn.split("<svg")[0], "nothing is not drawn"
    assert f"<title>{rows[0][0]}: 1 capture large</title>" in drawn and "highest 2 captures" in drawn
    assert '<th scope="col" class="num">By hand</th>' in drawn and ">0 captures<" in drawn
    one = bars([("Production", 1.0)], title="Age", unit="hours")
    assert ">1 hour<" in one and "1 column;" in one and "style=" not in drawn + one


def test_promotions_and_executions_are_drawn_by_how_they_ended(cast: Any, captured: None, client: Client) -> None:
    with tenant_scope(cast.tenant.pk):
        place = Environment.objects.get()
        for number, status in enumerate(("COMPLETED", "FAILED", "DRAFT")):
            Promotion.objects.create(
                tenant=cast.tenant, name=f"R{number}", status=status, source_environment=place,
                target_environment=place, ended_at=None if status == "DRAFT" else clock.now(),
            )  # fmt: skip
        for number, status in enumerate(("success", "success", "error", "running"), start=1):
            Execution.objects.create(
                tenant=cast.tenant, environment=place, number=number, env_execution_id=str(number), status=status,
                mode="trigger", sorted_at=clock.now(), seen_at=clock.now(),
            )  # fmt: skip
    client.force_login(cast.viewer)
    promotions = client.get("/t/acme/promotions/").content.decode()
    assert "1 promotion completed" in promotions and "1 promotion failed" in promotions
    executions = client.get(f"/t/acme/environments/{place.pk}/executions/").content.decode()
    assert "2 executions succeeded" in executions and "1 execution failed" in executions
    assert "Age of the last capture" not in client.get("/t/acme/snapshots/").content.decode(), "never captured"
