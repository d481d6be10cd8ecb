"""Celery's doors to the outbox; running one twice does no harm."""

from __future__ import annotations

from celery import shared_task

from . import services


@shared_task(name="outbox.tasks.deliver")
def deliver() -> None:
    """After each commit that published something, and every few seconds as the net."""
    services.run_round()


@shared_task(name="outbox.tasks.delete_old")
def delete_old() -> None:
    """Every hour: delete what every consumer has handled long ago."""
    while services.delete_old_events() == services.DELETED_AT_ONCE:
        pass
