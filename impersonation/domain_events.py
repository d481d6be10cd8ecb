"""What support sessions publish, as news of the customer's tenant."""

from __future__ import annotations

import uuid

import msgspec

from core.events import EventType
from outbox.publishing import publish

from .models import ImpersonationSession


class SessionStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of support took the place of a person of the tenant."""

    session_id: uuid.UUID
    actor_id: uuid.UUID
    acting_as_id: uuid.UUID
    reason: str
    ticket: str
    break_glass: bool


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A support session ended."""

    session_id: uuid.UUID
    actor_id: uuid.UUID
    acting_as_id: uuid.UUID
    reason: str


EVENTS = (
    EventType(name="session.started", payload=SessionStarted, words="Support session started"),
    EventType(name="session.ended", payload=SessionEnded, words="Support session ended"),
)


def publish_started(session: ImpersonationSession) -> None:
    """Needs the platform's scope, as everything that writes sessions."""
    started = SessionStarted(
        session_id=session.pk,
        actor_id=session.actor_user_id,
        acting_as_id=session.impersonated_user_id,
        reason=session.reason,
        ticket=session.ticket,
        break_glass=session.break_glass,
    )
    publish(started, tenant_id=session.impersonated_tenant_id)


def publish_ended(session: ImpersonationSession, reason: str) -> None:
    """Needs the platform's scope, as everything that writes sessions."""
    ended = SessionEnded(
        session_id=session.pk,
        actor_id=session.actor_user_id,
        acting_as_id=session.impersonated_user_id,
        reason=reason,
    )
    publish(ended, tenant_id=session.impersonated_tenant_id)
