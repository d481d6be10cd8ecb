"""``manage.py trail_retention``: let old months leave the trail. Runs as the tables' owner."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import retention
from core.errors import Conflict


class Command(BaseCommand):
    help = (
        "Detach whole sealed months from the trail. The tables stay as audit_logentry_YYYY_MM, to be dumped, until"
        " --drop. Seals are kept for ever. A legal hold (manage.py trail_hold) keeps a month."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keep-months", type=int, required=True, metavar="N")
        parser.add_argument("--drop", action="store_true", help="also drop the detached tables")
        parser.add_argument("--dry-run", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep_months"] < 1:
            raise CommandError("--keep-months must be 1 or more.")
        refused = []
        with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as owner:
            for month in retention.months_before(owner, keep_months=options["keep_months"]):
                if options["dry_run"]:
                    self.stdout.write(f"{month} would leave the trail.")
                    continue
                try:
                    gone = retention.retire_month(owner, month, drop=options["drop"])
                except Conflict as error:
                    refused.append(f"{error.message} {error.recovery}".strip())
                    continue
                where = "dropped" if options["drop"] else f"kept as {gone.table}"
                self.stdout.write(f"{month}: {gone.entries} entries in {gone.seals} seals, {where}.")
        if refused:
            raise CommandError("\n".join(refused))
