"""``manage.py dburl``: the address for ``psql``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

NAMES = {"operator": "DATABASE_OPERATOR_URL", "app": "DATABASE_URL", "owner": "DATABASE_OWNER_URL"}


class Command(BaseCommand):
    help = "Print the database URL of a role, for psql. The operator's reads every tenant; its writes are in the trail."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", choices=sorted(NAMES), default="operator")

    def handle(self, *args: Any, **options: Any) -> None:
        name = NAMES[options["role"]]
        url = getattr(settings, name, "")
        if not url:
            raise CommandError(
                f"{name} is not set. Put it into the environment of this command, as"
                " postgresql://opsconsole_operator:PASSWORD@HOST/DATABASE; docs/guide/roles.sql makes the role."
            )
        self.stdout.write(url)
