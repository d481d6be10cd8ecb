"""What the shell around every page needs to know."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest

from core.registry import Audience

from .audiences import audiences_of
from .permissions import is_platform_admin
from .selectors import tenants_of

THEMES = frozenset({"light", "dark"})


def shell(request: HttpRequest) -> dict[str, Any]:
    """``visit``, ``tenant``, ``memberships``, ``is_platform``, ``audiences``, ``theme`` and the visit's own shell.

    The lists are callables: a partial that does not draw the shell does not pay for them, a table that asks in every
    row pays once.
    """
    visit = getattr(request, "visit", None)
    user = getattr(request, "user", None)
    theme = request.COOKIES.get("theme", "")
    if visit is not None:
        memberships: Any = visit.memberships
        is_platform: Any = visit.is_platform_admin
        audiences: Any = audiences_of(visit.user, is_admin=is_platform)
    elif user is not None and user.is_authenticated:
        memberships = cache(lambda: tenants_of(user=user))
        is_platform = cache(lambda: is_platform_admin(user))
        audiences = cache(lambda: audiences_of(user, is_admin=is_platform()))
    else:
        memberships, is_platform, audiences = (), False, frozenset({Audience.EVERYONE})
    return {
        "visit": visit,
        "tenant": visit.tenant if visit else None,
        "memberships": memberships,
        "is_platform": is_platform,
        "audiences": audiences,
        "theme": theme if theme in THEMES else "",
        "environments": (),
        "support_session": getattr(request, "support_session", None),
        **(visit.shell if visit else {}),
    }
