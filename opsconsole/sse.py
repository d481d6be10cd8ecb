"""The API's event streams. Without a token they prove that streaming works; with one they carry its tenants' news."""

from __future__ import annotations

import uuid

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from core.errors import OpsError
from core.middleware import error_response
from core.pacing import known_as
from core.registry import registry
from core.support_rules import LEAVES, in_support_session
from operations import events
from tenants.models import ApiToken
from tenants.pages import open_visit
from tenants.permissions import is_platform_admin
from tenants.scope import platform_scope
from tenants.tokens import authenticate, authenticate_slowly


def _audience(token: ApiToken) -> list[uuid.UUID] | None:
    """The tenants whose news a token may hear; None: all."""
    if token.tenant_id:
        return [open_visit(user=token.user, tenant_id=token.tenant_id).tenant.pk]
    with platform_scope():
        if is_platform_admin(token.user):
            return None
        return sorted(token.user.memberships.values_list("tenant_id", flat=True))


@in_support_session(LEAVES)
async def api_stream(request: HttpRequest, name: str) -> HttpResponseBase:
    """``/api/v1/sse/<name>``, resumable by ``Last-Event-ID``."""
    secret = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    try:
        if not secret:
            return events.stream(list, lambda: True, listener_id=None)
        return await _news(request, secret, name)
    except OpsError as error:
        return error_response(request, error)


async def _news(request: HttpRequest, secret: str, name: str) -> HttpResponseBase:
    token = await sync_to_async(authenticate_slowly)(secret)
    known_as(request, f"program {token.user_id}")
    tenant_ids = await sync_to_async(_audience)(token)

    last_id = request.headers.get("Last-Event-ID", "")

    def alive() -> bool:
        try:
            # A place won or lost ends the stream; the listener comes back with the audience of now.
            return _audience(authenticate(secret)) == tenant_ids
        except OpsError:
            return False

    poll = events.changes_poll(tenant_ids=tenant_ids, kinds=registry.event_streams()[name].job_kinds, last_id=last_id)
    return events.stream(poll, alive, listener_id=token.user_id)
