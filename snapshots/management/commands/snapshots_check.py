"""``manage.py snapshots_check``: is each tenant's Git store whole; what is not is named."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from snapshots.repository import missing_stores, opened
from tenants.models import Tenant
from tenants.scope import platform_scope


class Command(BaseCommand):
    help = "Read every object and branch of the Git stores; names what is damaged (exit status 1). Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="", help="Slug of one tenant; without it, every tenant.")
        parser.add_argument("--quick", action="store_true", help="Skip the contents of files.")

    def handle(self, *args: Any, **options: Any) -> None:
        with platform_scope():
            rows = Tenant.objects.filter(slug=options["tenant"]) if options["tenant"] else Tenant.objects.all()
            tenants = list(rows.order_by("slug"))
        if options["tenant"] and not tenants:
            raise CommandError(f"There is no tenant “{options['tenant']}”.")
        self._missing = {tenant.pk for tenant in missing_stores()}
        damaged = [tenant.slug for tenant in tenants if not self._check(tenant, quick=options["quick"])]
        if damaged:
            raise CommandError(
                f"Damaged or missing: {', '.join(damaged)}. docs/guide/production.md says how a store is brought back.",
                returncode=1,
            )

    def _check(self, tenant: Tenant, *, quick: bool) -> bool:
        store = opened(tenant.pk)
        if tenant.pk in self._missing:
            self.stdout.write(f"{tenant.slug}: MISSING, {store.path}")
            return False
        if not store.path.exists():
            self.stdout.write(f"{tenant.slug}: nothing captured yet")
            return True
        found = store.verify(quick=quick)
        verdict = "whole" if found.is_whole else "DAMAGED"
        self.stdout.write(f"{tenant.slug}: {verdict}, {found.branches} branches, {found.seconds:.1f} s, {store.path}")
        for finding in found.findings:
            self.stdout.write(f"  {finding.kind}: {finding.branch or finding.object} {finding.detail}".rstrip())
        return found.is_whole
