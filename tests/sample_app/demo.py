"""A bottle in the demo."""

from __future__ import annotations

from core.demo import DemoChapter, DemoStage, as_person
from tenants.scope import tenant_scope

from .models import Bottle


def tell(stage: DemoStage) -> None:
    with as_person(stage.people["owner"]), tenant_scope(stage.tenant.pk):
        Bottle.objects.create(tenant=stage.tenant, name="A good year")


DEMO_CHAPTER = DemoChapter(name="bottles", position=40, tell=tell)
