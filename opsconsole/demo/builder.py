"""Builds the whole demo. A tenant that was left half-built is made anew; one that is complete is left alone.

People may be signed in meanwhile: their accounts come first, and pages say how far it is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence

from django.conf import settings

from impersonation.models import ImpersonationSession
from operations.models import Heartbeat
from operations.services import beat
from snapshots import repository
from tenants.models import Tenant, User
from tenants.scope import platform_scope

from . import others, progress
from .people import make_people, make_tenant
from .sites import Control, N8nSite, SandboxSite, Site
from .story import CHAPTERS, Story

MAIN = ("Larkfield Outdoors", "larkfield")
Begun = Callable[[], None]
People = dict[str, User]


def build(*, people_are_there: Begun) -> None:
    """Build what is missing. Raises ``DemoFailedError`` or an HTTP error of the sandbox.

    ``people_are_there`` is called once everybody can sign in, before there is anything to see.
    """
    control = Control(settings.SANDBOX_URL, settings.SANDBOX_CONTROL_TOKEN) if settings.SANDBOX_URL else None
    try:
        parts = progress.Parts(len(CHAPTERS) + len(others.TENANTS))
        parts.begin("people and their tenants")
        people = make_people()
        people_are_there()
        _build_main(people, control, parts)
        if control is not None:
            _build_others(people, control, parts)
            control.call("POST", "/save")
        parts.end()
    finally:
        if control:
            control.close()


def _build_main(people: People, control: Control | None, parts: progress.Parts) -> None:
    sites = main_sites(control)
    if sites is None or _is_complete(MAIN[1]):
        return
    Story(_fresh(*MAIN, people), people, sites()).tell(lambda words: parts.begin(f"{MAIN[0]}: {words}"))
    _complete(MAIN[1])


def _build_others(people: People, control: Control, parts: progress.Parts) -> None:
    for plan in others.TENANTS:
        if not _is_complete(plan.slug):
            parts.begin(plan.name)
            others.build(plan, _fresh(plan.name, plan.slug, people), people, control)
            _complete(plan.slug)


def main_sites(control: Control | None) -> Callable[[], Sequence[Site]] | None:
    """How to get the main tenant's three instances: real ones named in N8N_INSTANCES, else the sandbox's."""
    given = json.loads(os.environ.get("N8N_INSTANCES") or "[]")
    if len(given) >= 3:
        return lambda: [N8nSite(one["base_url"], one["api_key"]) for one in given[:3]]
    if control is None:
        return None
    return lambda: [SandboxSite(control, f"{MAIN[1]}-{name}") for name in ("dev", "staging", "production")]


def _fresh(name: str, slug: str, people: People) -> Tenant:
    """The tenant with nothing in it, also where an earlier run was broken off."""
    with platform_scope():
        left = Tenant.objects.filter(slug=slug).first()
        if left is not None:
            ImpersonationSession.objects.filter(impersonated_tenant=left).delete()
            left.delete()
    if left is not None:
        shutil.rmtree(repository.opened(left.pk).path, ignore_errors=True)
    return make_tenant(name, slug, people)


def _is_complete(slug: str) -> bool:
    return Heartbeat.objects.filter(name=f"demo:{slug}").exists()


def _complete(slug: str) -> None:
    beat(name=f"demo:{slug}", details={"complete": True})
