"""What a new tenant does first, on its home until it is done: from adding an n8n to taking a promotion back.

Apps declare the steps. A tenant of the demo starts with all of its examples, so there only what people do themselves
counts as promoted.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from core.declarations import FirstStep, HomePart
from core.registry import registry
from core.support_rules import NEVER, in_support_session
from operations.models import Heartbeat
from tenants.models import Grants, Tenant
from tenants.pages import Visit, tenant_page

from .models import Environment, EnvironmentKind

HIDDEN = "first_steps_hidden"


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the page shows it; ``is_next`` is the first that is not done, ``is_for_owners`` who takes it."""

    words: str
    why: str
    url: str
    is_done: bool
    is_next: bool
    is_for_owners: bool


def facts(tenant_id: uuid.UUID) -> Mapping[str, Any] | None:
    """The steps; None once the last is done, which is asked first."""
    declared = registry.first_steps()
    if not declared:
        return None
    slug = Tenant.objects.values_list("slug", flat=True).get(pk=tenant_id)
    since = end_of_examples(slug)
    if declared[-1].is_done(since):
        return None
    done = [step.is_done(since) for step in declared]
    following = next((n for n, is_done in enumerate(done) if not is_done), None)
    return {"first_steps": [_step(step, slug, done[n], n == following) for n, step in enumerate(declared)]}


def _step(declared: FirstStep, slug: str, is_done: bool, is_next: bool) -> Step:
    for_owners = declared.grant == Grants.MANAGE_ENVIRONMENTS
    return Step(declared.words, declared.why, declared.url(slug), is_done, is_next, for_owners)


def end_of_examples(slug: str) -> datetime | None:
    if settings.MODE != "demo":
        return None
    return Heartbeat.objects.filter(name=f"demo:{slug}").values_list("seen_at", flat=True).first()


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, methods=("POST",))
def hide(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Hide the steps of this tenant for as long as one is signed in."""
    hidden = {*request.session.get(HIDDEN, []), visit.tenant.slug}
    request.session[HIDDEN] = sorted(hidden)
    return redirect("tenant-home", tenant_slug=visit.tenant.slug)


def pipeline_query() -> str:
    """Source and target of a first promotion, for the page that plans one: the two environments that come first."""
    found = [str(pk) for pk in Environment.objects.filter(is_archived=False).values_list("pk", flat=True)[:2]]
    return f"?source={found[0]}&target={found[1]}" if len(found) == 2 else ""


PART = HomePart(name="first-steps", position=1, template="workflows/_first_steps.html", facts=facts)
STEPS = (
    FirstStep(
        name="connect",
        position=10,
        words="Add your n8n",
        why="It takes the address of the editor and an API key. The connection is tested, then the workflows captured.",
        is_done=lambda _: Environment.objects.exists(),
        url=lambda slug: reverse("environment-create", args=[slug]),
        grant=Grants.MANAGE_ENVIRONMENTS,
    ),
    FirstStep(
        name="pipeline",
        position=30,
        words="Add the environment that comes next",
        why="Staging or production: workflows of the same name are linked by themselves.",
        is_done=lambda _: (
            Environment.objects.exclude(kind=EnvironmentKind.DEV).count() > 0 and Environment.objects.count() > 1
        ),
        url=lambda slug: reverse("environment-create", args=[slug]),
        grant=Grants.MANAGE_ENVIRONMENTS,
    ),
)
