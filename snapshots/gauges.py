"""Gauges of captures for monitoring."""

from __future__ import annotations

from django.db.models import Min

from core import clock
from workflows.models import Environment


def environments_by_capture() -> dict[str, float]:
    """Environments in use: ``captured``, ``failing`` (the last capture failed), ``never`` captured."""
    rows = Environment.objects.filter(is_archived=False)
    failing = rows.filter(last_capture_error__isnull=False).count()
    never = rows.filter(last_capture_error__isnull=True, last_captured_at=None).count()
    return {"captured": float(rows.count() - failing - never), "failing": float(failing), "never": float(never)}


def oldest_capture_seconds() -> float:
    """The age of the oldest last capture among environments in use; 0 where there is none."""
    rows = Environment.objects.filter(is_archived=False, last_captured_at__isnull=False)
    oldest = rows.aggregate(oldest=Min("last_captured_at"))["oldest"]
    return (clock.now() - oldest).total_seconds() if oldest else 0.0
