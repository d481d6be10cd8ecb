"""What is checked of the apps' declarations once all of them are known: by Django's commands, and before serving."""

from __future__ import annotations

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

#: The tag of these checks.
DECLARATIONS = "declarations"


def refuse_what_is_undeclared() -> None:
    """Raise ``ImproperlyConfigured`` with every sentence; a server does not run Django's checks by itself."""
    found = [message for message in run_checks(tags=[DECLARATIONS]) if message.is_serious()]
    if found:
        raise ImproperlyConfigured("\n".join(f"{message.msg} {message.hint or ''}".strip() for message in found))
