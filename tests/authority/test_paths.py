"""Promotions follow the tenant's order of environments."""

from __future__ import annotations

from typing import Any

import pytest

from promotions.errors import PathRefused
from promotions.planning.paths import require_path
from tenants.scope import tenant_scope
from workflows import guards
from workflows.models import Environment

from .test_approvals import Account, estate, own_token  # noqa: F401 -- a fixture

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("source", "target", "left_out"),
    [
        ("dev", "staging", None),
        ("staging", "production", None),
        ("dev", "production", "Promote to Staging first"),
        ("production", "staging", None),
        ("staging", "dev", None),
    ],
)
def test_a_promotion_takes_one_step(
    cast: Any,
    estate: dict[str, Environment],  # noqa: F811
    source: str,
    target: str,
    left_out: str | None,
) -> None:
    body = {
        "source_environment_id": str(estate[source].pk),
        "target_environment_id": str(estate[target].pk),
        "workflow_keys": ["orders"],
    }
    answer = own_token(cast).post("/promotions", body).json()["error"]
    assert (answer["code"] == "PROMO_021") == bool(left_out), answer
    if left_out:
        assert left_out in answer["recovery"]
        with tenant_scope(cast.tenant.pk):
            guards.save_policy(cast.tenant.pk, allows_jumps=True)
        assert own_token(cast).post("/promotions", body).json()["error"]["code"] != "PROMO_021"


def test_nothing_is_promoted_back_into_production(cast: Any, estate: dict[str, Environment]) -> None:  # noqa: F811
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(slug="dev").update(position=9)
    with pytest.raises(PathRefused, match="comes after"):
        require_path(tenant_id=cast.tenant.pk, source_id=estate["dev"].pk, target_id=estate["production"].pk)
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(slug="dev").update(position=0)
        Environment.objects.filter(slug="staging").update(is_archived=True)
    require_path(tenant_id=cast.tenant.pk, source_id=estate["dev"].pk, target_id=estate["production"].pk)
