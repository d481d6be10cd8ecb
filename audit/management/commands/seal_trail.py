"""``manage.py seal_trail``: seal now what would be sealed within the minute; show the public key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.anchors import anchor
from audit.keys import seal_key
from audit.sealer import seal_for_ever
from audit.sealing import last_sealed, seal_trail
from core.wording import counted
from tenants.scope import platform_scope


class Command(BaseCommand):
    requires_system_checks = ("sealing",)
    help = "Seal the trail's entries that are settled, and anchor the head of the chain."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, metavar="SECONDS", help="go on for ever, with this long a pause")
        parser.add_argument("--public-key", action="store_true", help="only print the public key, for verify-trail")

    def handle(self, *args: Any, **options: Any) -> None:
        key = seal_key()
        if options["public_key"]:
            self.stdout.write(key.public_text)
            return
        if options["every"]:
            seal_for_ever(every_seconds=options["every"])
            return
        count = seal_trail()
        problems = anchor()
        with platform_scope():
            place = last_sealed()
        self.stdout.write(f"{counted(count, 'entry', 'entries')} sealed; seal {place.number}, {place.chain}.")
        if problems:
            raise CommandError("Not anchored: " + "; ".join(problems))
