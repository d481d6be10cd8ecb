"""What Django checks when a command or the web server starts: no view keeps silent about support sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, register

from core.checks import DECLARATIONS

from .routes import undeclared

HINT = "Put @in_support_session(…) with one of the rules of core/support_rules.py above it."


@register(DECLARATIONS)
def every_view_says_what_support_may_do(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """It would be denied at run time anyway; here it is told by name, while somebody is looking."""
    return [Error(sentence, hint=HINT, id="opsconsole.E101") for sentence in undeclared()]
