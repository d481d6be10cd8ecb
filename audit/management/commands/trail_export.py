"""``manage.py trail_export``: the trail as CSV, JSON Lines or OCSF."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.export import FORMATS, export_trail
from audit.ocsf import events_since
from audit.selectors import TrailFilter
from core.errors import OpsError
from core.wording import counted
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope


class Command(BaseCommand):
    help = (
        "Write the trail to a file, with its manifest beside it. With --format ocsf, what was committed since a cursor:"
        " the next cursor is printed at the end; keep it, and nothing is lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=[*FORMATS], required=True)
        parser.add_argument("--out", required=True, metavar="FILE", help="- for standard output")
        parser.add_argument("--tenant", default="", metavar="SLUG")
        parser.add_argument("--cursor", default="", help="of --format ocsf")
        for field in fields(TrailFilter):
            if field.name == "tenant":
                continue
            parser.add_argument(f"--{field.name.replace('_', '-')}", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = self._tenant(options["tenant"])
        raw = options["out"] == "-"
        try:
            with ExitStack() as stack:
                out: Any = sys.stdout.buffer if raw else stack.enter_context(Path(options["out"]).open("wb"))
                if options["format"] == "ocsf":
                    self._ocsf(out, tenant, options["cursor"])
                    return
                with tenant_scope(tenant.pk) if tenant else platform_scope():
                    manifest = export_trail(
                        TrailFilter.from_query({**options, "tenant": ""}),
                        kind=options["format"],
                        write=out.write,
                        tenant_id=tenant.pk if tenant else None,
                    )
        except OpsError as error:
            raise CommandError(error.message) from error
        document = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        if raw:
            self.stderr.write(document.decode())
        else:
            Path(options["out"] + ".manifest.json").write_bytes(document)
            self.stdout.write(f"{counted(manifest.rows, 'entry', 'entries')}, sha256 {manifest.sha256}")

    def _tenant(self, slug: str) -> Tenant | None:
        if not slug:
            return None
        with platform_scope():
            found = Tenant.objects.filter(slug=slug).first()
        if found is None:
            raise CommandError(f"No tenant has the short name {slug}.")
        return found

    def _ocsf(self, out: Any, tenant: Tenant | None, cursor: str) -> None:
        while True:
            with tenant_scope(tenant.pk) if tenant else platform_scope():
                page = events_since(cursor, limit=1000)
            if not page.events:
                break
            for event in page.events:
                out.write(orjson.dumps(event) + b"\n")
            cursor = page.cursor
        out.flush()
        self.stderr.write(f"cursor {page.cursor}")
