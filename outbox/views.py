"""The page of events: how far their consumers are, and what is parked for a person."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.registry import registry
from core.support_rules import LEAVES, in_support_session
from tenants.pages import platform_page

from . import selectors, services


@in_support_session(LEAVES)
@platform_page(admins_only=True)
def events(request: HttpRequest) -> HttpResponse:
    """Consumers and parked events, for platform admins."""
    page = selectors.parked_events(cursor=request.GET.get("cursor", ""))
    types = registry.event_types()
    parked = [(row, types[row.event.name].words if row.event.name in types else row.event.name) for row in page.rows]
    context = {"page": page, "parked": parked, "consumers": selectors.consumer_states()}
    return render(request, "outbox/events.html", {**context, "nav_section": "platform-events"})


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("POST",))
def retry(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Try a parked event again."""
    services.retry(parked_id=pk)
    messages.success(request, "The event is being tried again.")
    return redirect("platform-events")


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("POST",))
def dismiss(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Leave a parked event unhandled."""
    services.dismiss(parked_id=pk)
    messages.success(request, "The event was dismissed.")
    return redirect("platform-events")
