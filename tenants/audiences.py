"""For whom the platform's pages are, as far as a person is one of them."""

from __future__ import annotations

from core.registry import Audience

from .models import PlatformRole, User


def audiences_of(user: User, *, is_admin: bool) -> frozenset[Audience]:
    """What the rail and the command bar show of the platform; each page checks for itself."""
    found = {Audience.EVERYONE}
    if is_admin:
        found |= set(Audience)
    if user.role == PlatformRole.COMPLIANCE_OFFICER:
        found |= {Audience.TRAIL_READERS, Audience.SESSION_READERS}
    if user.role == PlatformRole.SUPPORT:
        found |= {Audience.SESSION_READERS, Audience.SUPPORT}
    return frozenset(found)
