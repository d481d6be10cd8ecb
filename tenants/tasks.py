"""Housekeeping of sign-ins and kept answers; running it twice does no harm."""

from __future__ import annotations

from celery import shared_task

from core import clock

from .idempotency import forget_expired
from .models import UserSession
from .scope import platform_scope


@shared_task(name="tenants.tasks.tidy")
def tidy() -> None:
    """Every hour: forget answers kept for ``Idempotency-Key`` and sign-ins that have run out."""
    forget_expired()
    with platform_scope():
        UserSession.objects.filter(expire_date__lt=clock.now()).delete()
