"""``manage.py demo``: fill an empty database with the demo estate."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Fill an empty database with the demo estate: people, tenants, environments on the sandbox, a history."

    def handle(self, *args: Any, **options: Any) -> None:
        from opsconsole.demo.builder import build

        if settings.MODE == "production":
            raise CommandError("The demo has a password that everybody knows: it is not for production.")
        if not settings.SANDBOX_URL:
            raise CommandError("There is no sandbox: set SANDBOX_URL and SANDBOX_CONTROL_TOKEN, or use script/up.")
        # What the command prints on stdout is repeated at each start; progress goes to stderr.
        self.stdout.write(build(self.stderr.write))
