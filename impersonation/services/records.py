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
from tenants.scope import platform_scope

TABLE = "platform_impersonation_sessions"
SHORTEST_REASON, LONGEST_TICKET = 10, 80  # characters


def record_session_event(action: str, session: ImpersonationSession, details: dict[str, Any]) -> None:
    """An event about a session, with its tenant. Needs the platform's scope."""
    record_event(
        action=action,
        resource_type=TABLE,
        resource_id=session.pk,
        tenant_id=session.impersonated_tenant_id,
        details={name: value if isinstance(value, bool | int) else str(value) for name, value in details.items()},
    )


def checked_reason(reason: str, ticket: str) -> tuple[str, str]:
    """Reason and ticket as they are kept. Raises ``Invalid`` where the customer could not make sense of them."""
    reason, ticket = " ".join(reason.split()), ticket.strip()
    wrong: dict[str, str] = {}
    if len(reason) < SHORTEST_REASON:
        wrong["reason"] = f"Give a reason of at least {SHORTEST_REASON} characters: the customer reads it."
    if settings.SUPPORT_TICKET_PATTERN and not re.fullmatch(settings.SUPPORT_TICKET_PATTERN, ticket):
        wrong["ticket"] = f"Enter the ticket number; it must match {settings.SUPPORT_TICKET_PATTERN}."
    elif len(ticket) > LONGEST_TICKET:
        wrong["ticket"] = f"At most {LONGEST_TICKET} characters."
    if wrong:
        raise Invalid(details=wrong)
    return reason, ticket


def acting_as(by: User | None) -> AbstractContextManager[Any]:
    """Writes are this person's own; None: the console's."""
    return context.acting(actor_id=by.pk) if by else context.acting(actor_id=None, source="system")


def record_own_event(action: str, session: ImpersonationSession, details: dict[str, Any]) -> None:
    """An event of the session itself, by its person as the customer's user.

    The rows of a session are written as ``acting_as`` its person alone: they are no work in the customer's place, and
    counting the trail must not take them for it.
    """
    within = context.acting(
        actor_id=session.actor_user_id, acting_as_id=session.impersonated_user_id, session_id=session.pk
    )
    with within, platform_scope():
        record_session_event(action, session, details)
