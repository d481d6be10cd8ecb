"""What an API key may do, and what will not work without it. Scopes are n8n's own words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from .client import N8nClient

_MOST, _LONGEST = 2000, 120
"""Scopes that are read, and characters of each; 2.41.1 knows about two hundred."""

_NEEDED: tuple[tuple[str, str], ...] = (
    ("workflow:list", "Captures and drift checks cannot list the workflows."),
    ("workflow:read", "Single workflows cannot be read back, so no write can be proven."),
    ("workflow:create", "New workflows cannot be promoted, and deleted ones not restored."),
    ("workflow:update", "Workflows cannot be changed: no promotion, restore or stabilize."),
    ("workflow:delete", "A failed promotion cannot remove what it created."),
    ("workflow:activate", "Workflows cannot be published or switched on."),
    ("workflow:deactivate", "Workflows cannot be unpublished or switched off."),
    ("tag:list", "Tags cannot be read."),
    ("tag:create", "Missing tags cannot be created."),
    ("workflowTags:update", "Tags cannot be given to workflows."),
    ("execution:list", "Executions cannot be counted, so it cannot be shown whether workflows run."),
    ("execution:read", "Single executions cannot be read."),
    ("execution:retry", "Failed executions cannot be tried again from here."),
    ("credential:list", "Credentials are learnt from the workflows that use them, and names may be out of date."),
    ("credential:read", "Credentials cannot be tested before a promotion."),
    ("credential:create", "Missing credentials cannot be created as stubs."),
    ("dataTable:list", "Data tables cannot be matched between environments."),
    ("dataTable:create", "Missing data tables cannot be created."),
    ("dataTableColumn:create", "Missing columns of data tables cannot be created."),
    ("variable:list", "Variables cannot be compared."),
    ("communityPackage:list", "It cannot be told whether a community package is installed."),
)


class MissingScope(msgspec.Struct, frozen=True):
    """A scope that the key lacks, and what that means."""

    scope: str
    effect: str


def missing_scopes(scopes: Collection[str], needed: Iterable[str] | None = None) -> tuple[MissingScope, ...]:
    """What is lacking of ``needed`` (None: of all that the console can use)."""
    asked = None if needed is None else set(needed)
    return tuple(
        MissingScope(scope, effect)
        for scope, effect in _NEEDED
        if scope not in scopes and (asked is None or scope in asked)
    )


def read_scopes(client: N8nClient) -> tuple[str, ...] | None:
    """What the API key may do, as n8n's ``/discover`` lists it; None where the answer cannot be used."""
    body = client.call("GET", "/discover").json()
    data = body.get("data", body) if isinstance(body, dict) else None
    scopes = data.get("scopes") if isinstance(data, dict) else None
    if not isinstance(scopes, list):
        return None
    return tuple(sorted(s[:_LONGEST] for s in scopes[:_MOST] if isinstance(s, str)))
