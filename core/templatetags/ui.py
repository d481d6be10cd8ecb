"""The console's components as template tags, `{% load ui %}`; docs/guide/ui-components.md tells how to use them."""

from __future__ import annotations

from django import template

from core.components import blocks, drawn, places, states, values

register = template.Library()
for topic in (states, values, drawn, places, blocks):
    register.tags |= topic.register.tags
    register.filters |= topic.register.filters
