"""What every write about sessions shares: its event, its context, the reason that is asked for."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

from django.conf import settings

from audit.services import record_event
from core import context
from core.errors import Invalid
from impersonation.models import ImpersonationSession
from tenants.models import User

TABLE = "platform_impersonation_sessions"
SHORTEST_REASON = 10


def note(action: str, session: ImpersonationSession, details: dict[str, Any]) -> None:
    """An event about a session, with its tenant. Needs the platform's scope."""
    record_event(
        action=action,
        resource_type=TABLE,
        resource_id=session.pk,
        tenant_id=session.impersonated_tenant_id,
        details={name: value if isinstance(value, bool | int) else str(value) for name, value in details.items()},
    )


def why_given(reason: str, ticket: str) -> tuple[str, str]:
    """Reason and ticket as they are kept; raises ``Invalid`` where the customer could not make sense of them."""
    reason, ticket = " ".join(reason.split()), ticket.strip()
    wrong: dict[str, str] = {}
    if len(reason) < SHORTEST_REASON:
        wrong["reason"] = f"Say why, in at least {SHORTEST_REASON} characters: the customer reads it."
    if settings.SUPPORT_TICKET_PATTERN and not re.fullmatch(settings.SUPPORT_TICKET_PATTERN, ticket):
        wrong["ticket"] = f"Give the ticket's number; it must match {settings.SUPPORT_TICKET_PATTERN}."
    elif len(ticket) > 80:
        wrong["ticket"] = "At most 80 characters."
    if wrong:
        raise Invalid(details=wrong)
    return reason, ticket


def acting_as(by: User | None) -> AbstractContextManager[Any]:
    """Writes are this person's own; None: the console's."""
    return context.acting(actor_id=by.pk) if by else context.acting(actor_id=None, source="system")


def inside(session: ImpersonationSession) -> AbstractContextManager[Any]:
    """Writes are those of the session: by its person, as the customer's."""
    return context.acting(
        actor_id=session.actor_user_id, acting_as_id=session.impersonated_user_id, session_id=session.pk
    )
