"""Celery's door: one call."""

from __future__ import annotations

from celery import shared_task

from .running.attention_mail import tell_all
from .running.status_sync import settle_all


@shared_task(name="promotions.tasks.settle")
def settle() -> None:
    """Every few seconds: bring promotions into line whose job was ended without them; tell whom they need."""
    settle_all()
    tell_all()
