"""Helpers of what the command bar finds."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Model
from django.urls import reverse

from .declarations import SearchRow, SearchScope
from .ids import uuid_or_none

#: Rows of one kind that are shown.
EACH = 6


def record_row(
    scope: SearchScope,
    tenant_id: uuid.UUID,
    url_name: str,
    *,
    title: str,
    hint: str,
    symbol: str = "",
    state: str = "",
    **key: Any,
) -> SearchRow:
    """A row that leads to a page of the tenant, which is named where several are looked through."""
    slug, tenant_name = scope.tenants[tenant_id]
    where = f"{hint} · {tenant_name}" if len(scope.tenants) > 1 else hint
    url = reverse(url_name, kwargs={"tenant_slug": slug, **key})
    return {"title": title, "hint": where, "url": url, "symbol": symbol, "state": state}


def row_by_id(scope: SearchScope, model: type[Model], text: str, *, url_name: str, noun: str) -> list[SearchRow]:
    """The record of a tenant that a pasted id belongs to."""
    wanted = uuid_or_none(text)
    if wanted is None:
        return []
    mine = model._default_manager.filter(pk=wanted, tenant_id__in=scope.tenant_ids)
    tenant_id = mine.values_list("tenant_id", flat=True).first()
    if tenant_id is None:
        return []
    title = f"{noun.capitalize()} {text[:8]}…"
    return [record_row(scope, tenant_id, url_name, title=title, hint=noun, symbol="arrow-right", pk=wanted)]


def page_of_place(scope: SearchScope, url_name: str, /, **key: Any) -> str:
    """The address of a page that a tenant and the platform both have; ``url_name`` as a tenant calls it."""
    if scope.tenant_slug:
        return reverse(url_name, kwargs={"tenant_slug": scope.tenant_slug, **key})
    return reverse(f"platform-{url_name}", kwargs=key)
