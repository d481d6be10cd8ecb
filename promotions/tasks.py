"""Celery's door: one call."""

from __future__ import annotations

from celery import shared_task

from .running.attention_mail import notify_all
from .running.status_sync import settle_all


@shared_task(name="promotions.tasks.settle")
def settle() -> None:
    """Every few seconds: settle promotions whose job ended without them, and notify whom they need."""
    settle_all()
    notify_all()
