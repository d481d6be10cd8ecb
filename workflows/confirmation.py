"""Production is written to only after a person has typed its name."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import NotConfirmed

from .models import Environment

SEVERAL = "production"


def word_for(environments: Sequence[Environment]) -> str:
    """What is to be typed: the name of the production environment, or ``production`` for several; '' for none."""
    names = sorted({environment.name for environment in environments if environment.is_production})
    return "" if not names else names[0] if len(names) == 1 else SEVERAL


def require_typed(environments: Sequence[Environment], typed: str | None, refusal: type[NotConfirmed]) -> None:
    """Raise ``refusal`` where a person typed something else than ``word_for`` says; programs (None) type nothing."""
    wanted = word_for(environments)
    if wanted and typed is not None and typed.strip() != wanted:
        raise refusal(details={"typed": wanted})
