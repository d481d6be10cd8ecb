"""What apps above this one add to the shell around every page of a tenant.

An app registers a callable in its ``AppConfig.ready()``; it is asked once per page, inside the platform's scope that
``open_visit`` holds anyway, and must restrict its queries to the tenant it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.registry import registry

from .models import Tenant, User

ShellItems = Callable[[Tenant, User], dict[str, Any]]

_providers: list[ShellItems] = []


def register_shell_items(provider: ShellItems) -> ShellItems:
    """Add a provider of template names, e.g. ``{"environments": [...]}``. Registering one twice has no effect."""
    if provider not in _providers:
        _providers.append(provider)
    return provider


def shell_items(tenant: Tenant, user: User) -> dict[str, Any]:
    """Everything the providers say about a tenant. Needs a scope that sees it."""
    items: dict[str, Any] = {"badges": registry.badges(tenant.pk)}
    for provider in _providers:
        items.update(provider(tenant, user))
    return items
