"""Celery's doors to the trail; running one twice does no harm."""

from __future__ import annotations

from celery import shared_task

from .anchors import anchor, failing
from .sealing import seal_trail
from .services import make_partitions


@shared_task(name="audit.tasks.seal")
def seal() -> None:
    """Every minute: seal what is settled; anchor the head when it moved or has not come through yet."""
    if seal_trail() or failing() is not None:
        anchor()


@shared_task(name="audit.tasks.partitions")
def partitions() -> None:
    """Every hour: months ahead have their partition before their first entry."""
    make_partitions()
