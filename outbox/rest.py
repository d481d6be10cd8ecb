"""Consumers and parked events over REST, for platform admins."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema

from core.errors import Forbidden
from core.paging import clamp
from core.support_rules import LEAVES, in_support_session
from tenants.permissions import is_platform_admin
from tenants.requests import token_of
from tenants.scope import platform_scope

from . import selectors, services
from .models import ParkedEvent

router = Router()


class ConsumerOut(Schema):
    name: str
    title: str
    handled: int
    handled_at: datetime | None
    waiting: int
    lag_seconds: float
    delayed_tenants: int
    parked: int
    last_error: str


class ConsumersOut(Schema):
    consumers: list[ConsumerOut]


class ParkedOut(Schema):
    id: uuid.UUID
    consumer: str
    event_id: uuid.UUID
    event: str
    version: int
    tenant: str | None
    occurred_at: datetime
    attempts: int
    error: str
    parked_at: datetime
    retry_requested_at: datetime | None


class ParkedPage(Schema):
    parked: list[ParkedOut]
    next_cursor: str | None


class ParkedOne(Schema):
    parked: ParkedOut


class Dismissed(Schema):
    dismissed: uuid.UUID


def _for_admins(request: HttpRequest) -> None:
    token = token_of(request)
    if not is_platform_admin(token.user) or token.tenant_id is not None or token.permissions:
        raise Forbidden(
            "Only platform admins see the platform's events.",
            recovery="Use a token of a platform admin that is bound to no tenant.",
        )


def _parked(row: ParkedEvent) -> ParkedOut:
    return ParkedOut(
        id=row.pk,
        consumer=row.consumer,
        event_id=row.event_id,
        event=row.event.name,
        version=row.event.version,
        tenant=row.tenant.slug if row.tenant else None,
        occurred_at=row.event.occurred_at,
        attempts=row.attempts,
        error=row.error,
        parked_at=row.parked_at,
        retry_requested_at=row.retry_requested_at,
    )


@in_support_session(LEAVES)
@router.get("/outbox/consumers", summary="How far each consumer of events is", response=ConsumersOut)
def consumers(request: HttpRequest) -> ConsumersOut:
    _for_admins(request)
    with platform_scope():
        states = selectors.consumer_states()
    return ConsumersOut(consumers=[ConsumerOut.from_orm(state) for state in states])


@in_support_session(LEAVES)
@router.get("/outbox/parked", summary="Events that a consumer has failed at for the last time", response=ParkedPage)
def parked(request: HttpRequest, limit: int = 50, cursor: str = "") -> ParkedPage:
    _for_admins(request)
    with platform_scope():
        page = selectors.parked_events(cursor=cursor, limit=clamp(limit))
        return ParkedPage(parked=[_parked(row) for row in page.rows], next_cursor=page.next_cursor or None)


@in_support_session(LEAVES)
@router.post("/outbox/parked/{parked_id}/retry", summary="Try a parked event again", response=ParkedOne)
def retry(request: HttpRequest, parked_id: uuid.UUID) -> ParkedOne:
    _for_admins(request)
    with platform_scope():
        return ParkedOne(parked=_parked(services.retry(parked_id=parked_id)))


@in_support_session(LEAVES)
@router.post("/outbox/parked/{parked_id}/dismiss", summary="Leave a parked event unhandled", response=Dismissed)
def dismiss(request: HttpRequest, parked_id: uuid.UUID) -> Dismissed:
    _for_admins(request)
    services.dismiss(parked_id=parked_id)
    return Dismissed(dismissed=parked_id)
