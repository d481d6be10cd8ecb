"""What lists say of a job beside its state."""

from __future__ import annotations

from django import template

from operations.models import Operation
from operations.summaries import small_summary_of

register = template.Library()


@register.filter
def came_to(operation: Operation) -> str:
    """What a completed job came to, in a few words, or ''; that it ended is not that it went well."""
    found = small_summary_of(operation)
    return found.brief if found else ""
