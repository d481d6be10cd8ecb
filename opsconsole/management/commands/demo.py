"""``manage.py demo``: fill an empty database with the demo estate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Fill an empty database with the demo estate: people, tenants, environments on the sandbox, a history."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--accounts", type=Path, help="write the accounts to this file once people can sign in")

    def handle(self, *args: Any, accounts: Path | None, **options: Any) -> None:
        from opsconsole.demo.builder import build
        from opsconsole.demo.people import accounts as told

        if settings.MODE == "production":
            raise CommandError("The demo has a password that everybody knows: it is not for production.")
        if not settings.SANDBOX_URL:
            raise CommandError("There is no sandbox: set SANDBOX_URL and SANDBOX_CONTROL_TOKEN, or use script/up.")
        build(people_are_there=lambda: _write(accounts, told()) if accounts else None)
        self.stdout.write(told())


def _write(path: Path, text: str) -> None:
    """Whole or not at all: whoever waits for the file reads it as soon as it is there."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
