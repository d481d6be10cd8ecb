"""``manage.py verify_trail``: script/verify-trail with this installation's database and keys."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.keys import seal_key


class Command(BaseCommand):
    help = (
        "Check the trail: edited, deleted, inserted and moved entries, removed and forged seals. To trust nothing of"
        " this machine, run script/verify-trail elsewhere, with a public key and anchors kept elsewhere."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anchor", default=settings.ANCHOR_FILE, metavar="FILE")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        url = settings.DATABASE_OPERATOR_URL
        if not url:
            raise CommandError("DATABASE_OPERATOR_URL is not set: checking needs a role that reads every row.")
        command = [sys.executable, str(settings.BASE_DIR / "script" / "verify-trail")]
        for key in [seal_key().public_text, *settings.SEAL_PUBLIC_KEYS]:
            command += ["--public-key", key]
        command += ["--anchor", options["anchor"]] if options["anchor"] else []
        command += ["--json"] if options["json"] else []
        # Not as an argument: those of every process can be read by everybody on the machine.
        environment = os.environ | {"VERIFY_TRAIL_DATABASE": url}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        self.stdout.write(done.stdout.rstrip())
        if done.returncode:
            raise CommandError(done.stderr.strip() or "The trail is not whole.", returncode=done.returncode)
