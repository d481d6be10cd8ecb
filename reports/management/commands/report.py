"""``manage.py report``: a report to standard output, its manifest to a file or to standard error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import clock, context
from core.errors import OpsError
from reports import services
from reports.definitions import all_reports, moment_of, report_named, settle
from reports.documents import Manifest
from reports.models import Format, Period
from tenants.models import Tenant
from tenants.scope import platform_scope


class Command(BaseCommand):
    help = "Write a compliance report to standard output. The audit trail records it with its hash."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", default="", help="without a name: list them")
        parser.add_argument("--tenant", default="", help="short name: only what this tenant may see (default: all)")
        parser.add_argument("--since", default="", help="ISO date or moment")
        parser.add_argument("--until", default="", help="ISO date (included) or moment")
        parser.add_argument("--period", default="", choices=["", *Period.values])
        parser.add_argument("--person", default="", help="e-mail address")
        parser.add_argument("--as-of", default="", help="a moment: the same one gives the same bytes again")
        parser.add_argument("--format", default=Format.CSV, choices=Format.values)
        parser.add_argument("--manifest", type=Path, help="write the manifest there instead of to standard error")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["name"]:
            for report in all_reports():
                self.stdout.write(f"{report.name}\n    {report.answers}")
            return
        try:
            with context.acting(source="shell"):
                manifest = self._write(options)
        except OpsError as error:
            raise CommandError(f"{error.message} {error.details or ''}\n{error.recovery}") from error
        text = orjson.dumps(manifest.to_json(), option=orjson.OPT_INDENT_2).decode()
        if options["manifest"]:
            options["manifest"].write_text(text + "\n")
        else:
            self.stderr.write(text)

    def _write(self, options: dict[str, Any]) -> Manifest:
        report = report_named(options["name"])
        as_of = min(moment_of(options["as_of"], "as_of"), clock.now()) if options["as_of"] else clock.now()
        asked = settle(
            as_of=as_of,
            since=options["since"],
            until=options["until"],
            period=options["period"],
            person=options["person"],
        )
        tenant = None
        if options["tenant"]:
            with platform_scope():
                tenant = Tenant.objects.filter(slug=options["tenant"]).first()
            if tenant is None:
                raise CommandError(f"There is no tenant “{options['tenant']}”.")
        out = getattr(self.stdout, "buffer", None) or getattr(self.stdout._out, "buffer", None) or sys.stdout.buffer
        return services.write_now(report=report, tenant=tenant, asked=asked, kind=options["format"], out=out)
