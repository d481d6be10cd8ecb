"""A check of Django at start-up: every view declares what a support session may do there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, register

from core.checks import DECLARATIONS

from .routes import undeclared

HINT = "Put @in_support_session(…) with one of the rules of core/support_rules.py above it."


@register(DECLARATIONS)
def every_view_says_what_support_may_do(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """At run time it would be denied anyway; here it is named while somebody is looking."""
    return [Error(sentence, hint=HINT, id="opsconsole.E101") for sentence in undeclared()]
