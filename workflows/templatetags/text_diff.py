"""The rows of a text diff, for ``workflows/_text_diff.html``."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from workflows.graph_overlay import anchor_of
from workflows.textdiff import Layout, SectionDiff, TextDiff, draw, draw_rest

register = template.Library()


@register.simple_tag
def diff_rows(section: SectionDiff, layout: Layout, more_url: str) -> SafeString:
    """Return the table rows of one section, whose address is ``more_url``; a fold leads there, with all lines."""
    return draw(section, layout=layout, more_url=f"{more_url}&lines=all")


@register.simple_tag
def diff_rest(text: TextDiff, alone_url: str) -> SafeString:
    """Return what there was no room for, each leading to ``alone_url`` with its section."""
    return draw_rest(text.rest, alone_url=alone_url)


@register.filter
def anchor(node: str) -> str:
    """Return what a node is called in addresses within a page."""
    return anchor_of(node)


@register.filter
def thread(discussion: Any, node: str) -> Any:
    """Return what was said of a node; of the whole workflow where it is ''."""
    return discussion.of(node)
