"""The console is upgraded, and compares workflows in another way, while a job is under way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.tests.world import World
from snapshots.models import Snapshot
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tests.comparing import compare_otherwise

KEYS = ("billing", "intake")


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    return lambda: compare_otherwise(monkeypatch)


def killed_at(world: World, operation: Operation, boundary: str) -> None:
    def die(name: str) -> None:
        if name == boundary:
            boundary_observers.clear()
            raise SystemExit

    boundary_observers.append(die)
    with pytest.raises(SystemExit):
        world.drive(operation, tries=1)


def names_of_nodes(world: World) -> set[str]:
    return {node["name"] for node in world.by_name()["Billing"]["nodes"]}


@pytest.mark.parametrize(
    "boundary", ["promotion:places:after-result", "promote:write:billing:after-effect", "promotion:verify:after-result"]
)
def test_a_promotion_that_had_begun_to_write_is_carried_through(
    world: World, upgrade: Callable[[], int], boundary: str
) -> None:
    promotion = world.approved(*KEYS)
    operation = world.start(promotion)
    killed_at(world, operation, boundary)
    upgrade()
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    assert names_of_nodes(world) == {"Hook", "New step"}
    assert set(world.by_name()) == {"Billing", "Same", "Other", "Helper", "Intake"}
    verification = (world.fresh(promotion).execution_result or {})["verification"]
    assert verification["others_unchanged"] == 2
    compared = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    assert not any(row.target_drifted for row in compared.rows)


def test_a_promotion_that_had_begun_to_write_is_put_back_and_proven(world: World, upgrade: Callable[[], int]) -> None:
    promotion = world.approved(*KEYS)
    before = {name: raw["nodes"] for name, raw in world.by_name().items()}
    operation = world.start(promotion)
    killed_at(world, operation, "promote:write:billing:after-result")
    upgrade()
    services.cancel(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "CANCELLED", world.failure(operation.pk)
    assert {name: raw["nodes"] for name, raw in world.by_name().items()} == before
    back = (world.fresh(promotion).execution_result or {})["rollback_result"]
    assert back["status"] == "success" and back["proof"]["equal"] == 3


def test_a_promotion_that_had_written_nothing_is_refused_by_name(world: World, upgrade: Callable[[], int]) -> None:
    promotion = world.approved(*KEYS)
    before = world.by_name()
    operation = world.start(promotion)
    killed_at(world, operation, "pre:git:after-result")
    upgrade()
    assert world.drive(operation) == "FAILED"
    result = world.fresh(promotion).execution_result or {}
    assert (result["error"]["code"], result["target_untouched"]) == ("PROMO_007", True)
    assert "upgraded" in result["error"]["message"]
    assert world.by_name() == before


@pytest.mark.parametrize("boundary", ["", "rollback:look:after-result", "rollback:write:billing:after-result"])
def test_what_was_promoted_before_an_upgrade_can_be_rolled_back(
    world: World, upgrade: Callable[[], int], boundary: str
) -> None:
    promotion = world.carry_out(world.approved(*KEYS))
    assert promotion.status == "COMPLETED"
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    if boundary:
        killed_at(world, operation, boundary)
    upgrade()
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    assert names_of_nodes(world) == {"Hook", "Set"}
    assert set(world.by_name()) == {"Billing", "Same", "Other"}
    assert (world.fresh(promotion).execution_result or {})["manual_rollback"]["proof"]["not_as_before"] == []


@pytest.mark.parametrize("boundary", ["restore:write:billing:after-effect", "restore:write:billing:after-result"])
def test_a_restore_that_had_begun_is_proven_equal(world: World, upgrade: Callable[[], int], boundary: str) -> None:
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.get(environment=world.production)
    world.target.edit(world.by_name()["Billing"]["id"])
    operation = start_restore(
        tenant_id=world.tenant_id, environment_id=world.production.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    killed_at(world, operation, boundary)
    upgrade()
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    with tenant_scope(world.tenant_id):
        operation.refresh_from_db()
    assert operation.result["status"] == "restored", operation.result["proof"]
