"""Whether what was promoted runs: its executions before and since."""

from __future__ import annotations

from datetime import timedelta

from django.test import Client
from django.urls import reverse

from core import clock
from promotions.models import Promotion
from promotions.reading.executions import runs_since
from promotions.tests.world import World
from tenants.scope import tenant_scope
from workflows.executions import collecting


def test_a_promotions_page_tells_runs_before_and_since(world: World) -> None:
    def ran(name: str, minutes: float, status: str = "success") -> None:
        at = (clock.now() - timedelta(minutes=minutes)).isoformat()
        ident = world.by_name()[name]["id"]
        world.target.add_executions({"workflow_id": ident, "status": status, "started": at, "stopped": at})

    promotion = world.approved("intake")
    with tenant_scope(world.tenant_id):
        assert runs_since(promotion) is None, "nothing was done yet"
    promotion = world.carry_out(promotion)
    assert promotion.status == "COMPLETED", promotion.execution_result
    with tenant_scope(world.tenant_id):
        moment = clock.now() - timedelta(hours=2)
        Promotion.objects.filter(pk=promotion.pk).update(started_at=moment, ended_at=moment)
    ran("Intake", 300)
    ran("Intake", 200)
    ran("Intake", 60, "error")
    ran("Intake", 30)
    collecting.collect(world.production)
    with tenant_scope(world.tenant_id):
        found = runs_since(world.fresh(promotion))
    assert found is not None
    row = next(row for row in found.rows if row.key == "intake")
    assert (row.before.runs, row.before.failed, row.after.runs, row.after.failed) == (2, 0, 2, 1)
    client = Client()
    client.force_login(world.cast.viewer, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(
        reverse("promotion", kwargs={"tenant_slug": world.cast.tenant.slug, "pk": promotion.pk})
    ).content.decode()
    assert "Since this promotion" in page and "Worse" in page and "50.0%" in page
