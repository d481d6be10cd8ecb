"""The rows of a text diff, for ``workflows/_text_diff.html``."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from workflows.textdiff import Layout, SectionDiff, draw

register = template.Library()


@register.simple_tag
def diff_rows(section: SectionDiff, layout: Layout, more_url: str) -> SafeString:
    """Return the table rows of one section; a fold leads to ``more_url``, where nothing is folded."""
    return draw(section, layout=layout, more_url=more_url)
