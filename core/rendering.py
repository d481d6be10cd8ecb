"""Django's templates, whose pages and mails can always be sent: half a character in a text stops none."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template.backends.django import DjangoTemplates, Template
from django.utils.safestring import SafeString, mark_safe

from .texts import storable


class SendableTemplate(Template):
    """A template."""

    def render(
        self, context: dict[str, Any] | None = None, request: HttpRequest | None = None
    ) -> SafeString:  # escaped already
        return mark_safe(storable(super().render(context, request)))  # noqa: S308


class SendableTemplates(DjangoTemplates):
    """The engine that settings name."""

    def from_string(self, template_code: str) -> SendableTemplate:
        return SendableTemplate(super().from_string(template_code).template, self)

    def get_template(self, template_name: str) -> SendableTemplate:
        return SendableTemplate(super().get_template(template_name).template, self)
