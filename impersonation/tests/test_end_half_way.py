"""A session ends while no worker has what it began: whoever takes that up leaves nothing half-way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from impersonation.models import ImpersonationSession
from impersonation.tests.test_kill import inside, kill_by_hand, session  # noqa: F401 -- a fixture
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services as promotions
from promotions.tests.conftest import empty_world, no_drift, sandbox_server, world  # noqa: F401 -- fixtures
from promotions.tests.world import World, flow, node
from snapshots.models import Snapshot
from snapshots.starting import start_restore
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


def runs_out(session: ImpersonationSession) -> None:  # noqa: F811
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(
            last_seen_at=F("last_seen_at") - timedelta(minutes=16)
        )


ENDS = pytest.mark.parametrize("end", [kill_by_hand, runs_out])
End = Callable[[ImpersonationSession], None]


def killed_at(boundary: str, world: World, operation: Operation) -> None:  # noqa: F811
    def die(name: str) -> None:
        if name == boundary:
            boundary_observers.clear()
            raise SystemExit

    boundary_observers.append(die)
    with pytest.raises(SystemExit):
        world.drive(operation, tries=1)


@ENDS
def test_a_promotion_is_put_back(world: World, session: ImpersonationSession, end: End) -> None:  # noqa: F811
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    with inside(session):
        operation = world.start(promotion)
    killed_at("promote:write:billing:after-effect", world, operation)
    assert world.hashes() != before
    end(session)
    assert world.drive(operation) == "CANCELLED"
    assert world.hashes() == before
    done = world.fresh(promotion)
    assert (done.status, done.execution_result["rollback_result"]["status"]) == ("CANCELLED", "success")


@ENDS
def test_a_restore_is_put_back(world: World, session: ImpersonationSession, end: End) -> None:  # noqa: F811
    for name in ("Billing", "Other"):
        world.target.edit(world.by_name()[name]["id"], nodes=flow(name, node("Edited"))["nodes"])
    before = world.hashes()
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.get(environment=world.production)
    people: dict[str, Any] = {"tenant_id": world.tenant_id, "requested_by": world.cast.operator}
    with inside(session):
        operation = start_restore(environment_id=world.production.pk, snapshot_id=snapshot.pk, **people)
    killed_at("restore:write:billing:after-effect", world, operation)
    assert world.hashes() != before
    end(session)
    assert world.drive(operation) == "CANCELLED"
    assert world.hashes() == before


@ENDS
def test_a_rollback_is_carried_through(world: World, session: ImpersonationSession, end: End) -> None:  # noqa: F811
    before = world.hashes()
    promotion = world.carry_out(world.approved("billing", "intake"))
    with inside(session):
        operation = promotions.rollback(
            tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, reason="Wrong labels"
        )
    killed_at("rollback:write:billing:after-effect", world, operation)
    end(session)
    assert world.drive(operation) == "COMPLETED"
    assert world.hashes() == before
    assert world.fresh(promotion).status == "ROLLED_BACK"
