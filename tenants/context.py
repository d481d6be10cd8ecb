"""What the shell around every page needs to know."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest

from .permissions import is_platform_admin
from .selectors import tenants_of

THEMES = frozenset({"light", "dark"})


def shell(request: HttpRequest) -> dict[str, Any]:
    """``visit``, ``tenant``, ``memberships``, ``is_platform``, ``theme`` and what the visit's shell holds.

    The lists are callables: a partial that does not draw the shell does not pay for them, a table that asks in every
    row pays once.
    """
    visit = getattr(request, "visit", None)
    user = getattr(request, "user", None)
    theme = request.COOKIES.get("theme", "")
    if visit is not None:
        memberships: Any = visit.memberships
        is_platform: Any = visit.is_platform_admin
    elif user is not None and user.is_authenticated:
        memberships = cache(lambda: tenants_of(user=user))  # type: ignore[arg-type]
        is_platform = cache(lambda: is_platform_admin(user))  # type: ignore[arg-type]
    else:
        memberships, is_platform = (), False
    return {
        "visit": visit,
        "tenant": visit.tenant if visit else None,
        "memberships": memberships,
        "is_platform": is_platform,
        "theme": theme if theme in THEMES else "",
        "environments": (),
        "support_session": getattr(request, "support_session", None),
        **(visit.shell if visit else {}),
    }
