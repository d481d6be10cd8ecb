"""``manage.py scan_isolation``: whether every tenant's data is still its own. Reads only; may run on production."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from tenants.isolation import CHECKS, as_the_console, scan, tenant_tables


class Command(BaseCommand):
    help = "Check tenant isolation: policies, roles, views, functions, stray and orphaned rows (DB_001, DB_002)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Findings as JSON, for monitoring")

    def handle(self, *args: Any, **options: Any) -> None:
        url = settings.DATABASE_OPERATOR_URL
        if not url:
            raise CommandError(
                "DATABASE_OPERATOR_URL is not set: only the operator's role sees every tenant's rows."
                " docs/guide/roles.sql makes the role; then set postgresql://opsconsole_operator:PASSWORD@HOST/DATABASE."
            )
        with psycopg.connect(url) as operator:
            operator.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            operator.read_only = True
            with operator.cursor() as cursor:
                tables = tenant_tables(cursor)
                found = scan(cursor)
        with transaction.atomic(), connection.cursor() as cursor:
            found += as_the_console(cursor, tables)
        if options["json"]:
            report = {"tables": len(tables), "checks": len(CHECKS) + 1, "findings": [f.to_dict() for f in found]}
            self.stdout.write(json.dumps(report, indent=2))
        else:
            for finding in found:
                self.stdout.write(f"{finding.code}  {finding.message}\n        Way out: {finding.recovery}")
        if found:
            raise CommandError(f"{len(found)} findings in {len(tables)} tables.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"{len(tables)} tables, {len(CHECKS) + 1} checks: every tenant's data is its own.")
