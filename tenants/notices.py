"""What apps above must act upon in the very transaction (``core.notices``): see ``Console.in_transaction_handlers``."""

from __future__ import annotations

from dataclasses import dataclass

from .models import User


@dataclass(frozen=True, slots=True)
class SignInsEnded:
    """A person's sign-ins were ended. ``by`` None: nobody in particular."""

    user: User
    count: int
    by: User | None
    why: str


@dataclass(frozen=True, slots=True)
class SignInLinkShown:
    """A link by which somebody becomes ``user`` was shown to ``by`` (or printed: None). In the platform's scope."""

    user: User
    by: User | None


@dataclass(frozen=True, slots=True)
class AccessLost:
    """A person lost a role, a membership or the way in."""

    user: User
    by: User | None
    why: str


@dataclass(frozen=True, slots=True)
class TokenTriesRefused:
    """Many tokens were refused from one address."""

    address: str
    tries: int
