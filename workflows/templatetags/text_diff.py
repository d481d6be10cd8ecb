"""The rows of a text diff, for ``workflows/_text_diff.html``."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from workflows.graph_overlay import anchor_of
from workflows.textdiff import Layout, SectionDiff, draw

register = template.Library()


@register.simple_tag
def diff_rows(section: SectionDiff, layout: Layout, more_url: str) -> SafeString:
    """Return the table rows of one section, whose address is ``more_url``; a fold leads there, with all lines."""
    return draw(section, layout=layout, more_url=f"{more_url}&lines=all")


@register.filter
def anchor(node: str) -> str:
    """Return what a node is called in addresses within a page."""
    return anchor_of(node)
