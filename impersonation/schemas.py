"""Support sessions as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Self

from core import clock
from core.answers import Answer, PageAnswer

from .activity import Counts, Impact
from .models import ImpersonationSession


class SessionOut(Answer):
    """A session under the runbook's names. ``id`` and ``session_id`` are the same; ``ended_at`` null: it stands."""

    id: uuid.UUID
    session_id: uuid.UUID
    actor_user_id: uuid.UUID
    actor_email: str
    impersonated_user_id: uuid.UUID
    impersonated_email: str
    impersonated_tenant_id: uuid.UUID
    tenant_name: str
    tenant_slug: str
    mode: str
    reason: str
    ticket: str
    break_glass: bool
    started_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    ended_by: uuid.UUID | None
    end_reason: str
    ip_address: str | None
    user_agent: str
    active: bool

    @classmethod
    def of(cls, session: ImpersonationSession, **more: Any) -> Self:
        """``more`` are a subclass's fields. Needs a scope that sees the session's people."""
        ended_at = session.over_at(clock.now())
        return cls(
            id=session.pk,
            session_id=session.pk,
            actor_user_id=session.actor_user_id,
            actor_email=session.actor_user.email,
            impersonated_user_id=session.impersonated_user_id,
            impersonated_email=session.impersonated_user.email,
            impersonated_tenant_id=session.impersonated_tenant_id,
            tenant_name=session.impersonated_tenant.name,
            tenant_slug=session.impersonated_tenant.slug,
            mode=session.mode,
            reason=session.reason,
            ticket=session.ticket,
            break_glass=session.break_glass,
            started_at=session.started_at,
            expires_at=session.expires_at,
            last_seen_at=session.last_seen_at,
            ended_at=ended_at,
            ended_by=session.ended_by_id,
            end_reason=session.end_reason,
            ip_address=session.ip_address,
            user_agent=session.user_agent,
            active=ended_at is None,
            **more,
        )


class SessionAnswer(Answer):
    session: SessionOut


class SessionStopped(SessionAnswer):
    stopped: bool


class SessionsStopped(Answer):
    """How many sessions were ended."""

    stopped: int


class SessionList(PageAnswer):
    sessions: list[SessionOut]


class PendingRequest(Answer):
    id: uuid.UUID
    expires_at: datetime


class WriteRequested(SessionAnswer):
    """The request for write mode that somebody else must answer."""

    request: PendingRequest


class DecidedRequest(PendingRequest):
    state: str


class DecisionAnswer(Answer):
    request: DecidedRequest


class SessionCounts(Answer):
    """``writes`` is ``write_requests`` plus ``rows_written``; ``effects`` were made on other systems."""

    reads: int
    writes: int
    write_requests: int
    refusals: int
    rows_written: int
    effects: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        return cls(
            reads=counts.reads,
            writes=counts.writes,
            write_requests=counts.requests,
            refusals=counts.refusals,
            rows_written=counts.rows,
            effects=counts.effects,
        )


class TouchedResource(Answer):
    id: uuid.UUID | None
    name: str
    url: str | None


class TouchedKind(Answer):
    """Everything of one kind that a session touched; ``counts`` are by action."""

    resource_type: str
    counts: dict[str, int]
    resources: list[TouchedResource]

    @classmethod
    def of(cls, impact: Impact) -> Self:
        resources = [
            TouchedResource(id=touched.id, name=touched.name, url=touched.url or None)
            for touched in impact.objects.values()
        ]
        return cls(resource_type=impact.kind, counts=impact.counts, resources=resources)


class SessionDetail(SessionOut):
    """``flags`` say why the session deserves a second look."""

    counts: SessionCounts
    flags: list[str]
    impact: list[TouchedKind]


class SessionDetailAnswer(Answer):
    session: SessionDetail


class RevertFact(Answer):
    """One value as text: before the session, as it left it, and now; “–” where there was none."""

    name: str
    before: str
    after: str
    now: str


class RevertItem(Answer):
    """One thing that the session did. ``verdict`` is ready, conflict, undone, nothing or impossible."""

    id: str
    kind: str
    name: str
    did: str
    verdict: str
    why: str
    url: str
    facts: list[RevertFact]


class RevertPreview(Answer):
    """``counts`` are by verdict; ``too_many``: the session wrote more than is read here."""

    items: list[RevertItem]
    counts: dict[str, int]
    too_many: bool


class RevertJob(Answer):
    """``items`` are the ids of what is being reverted."""

    id: uuid.UUID
    kind: str
    status: str
    items: list[str]


class RevertAnswer(Answer):
    operation: RevertJob
    operation_id: uuid.UUID


class PolicyOut(Answer):
    access: str
    write_consent: str
    longest_minutes: int
    idle_minutes: int


class PolicyAnswer(Answer):
    policy: PolicyOut


class EmergencyAnswer(Answer):
    """``tenant`` is a short name, ``done`` the act, ``message`` what it came to."""

    tenant: str
    done: str
    message: str
