"""What promotions publish on their way, each in the transaction of its cause."""

from __future__ import annotations

from typing import Any

from outbox.tests.reading import published
from promotions import services
from promotions.domain_events import PromotionEnded
from promotions.tests.test_attention import half_way
from promotions.tests.world import World

OWN = (
    "promotion.planned",
    "promotion.submitted",
    "promotion.approved",
    "promotion.rejected",
    "promotion.started",
    "promotion.ended",
)


def names(world: World) -> list[str]:
    return [name.removeprefix("promotion.") for name, _ in published(world.tenant_id, *OWN)]


def last(world: World) -> Any:
    return published(world.tenant_id, *OWN)[-1][1]


def test_from_the_plan_to_the_end(world: World) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    assert names(world) == ["planned", "submitted", "approved", "started", "ended"]
    ended = last(world)
    assert (ended.promotion_id, ended.status, ended.needs_attention) == (promotion.pk, "COMPLETED", False)


def test_a_target_left_half_way_is_said_and_so_is_its_rollback(world: World) -> None:
    promotion = half_way(world)
    ended = last(world)
    assert isinstance(ended, PromotionEnded)
    assert (ended.promotion_id, ended.status, ended.needs_attention) == (promotion.pk, "FAILED", True)


def test_one_that_is_turned_down(world: World) -> None:
    promotion = world.draft("billing", "intake")
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    services.reject(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver, comment="Not on a Friday."
    )
    assert names(world) == ["planned", "submitted", "rejected"]
    assert last(world).comment == "Not on a Friday."
