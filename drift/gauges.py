"""Gauges of drift for monitoring."""

from __future__ import annotations

from django.db.models import Count

from .models import ACTIVE, DriftIncident, Severity


def incidents_by_severity() -> dict[str, float]:
    """Incidents whose drift is still there, by severity, zeros included."""
    rows = DriftIncident.objects.filter(incident_state__in=ACTIVE).values_list("severity").annotate(Count("pk"))
    counted = dict(rows)
    return {str(severity): float(counted.get(severity, 0)) for severity in Severity.values}
