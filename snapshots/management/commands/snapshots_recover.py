"""``manage.py snapshots_recover``: make lost rows of snapshots again from their manifests in Git."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import OpsError
from snapshots.recovery import recover
from snapshots.repository import begin_anew
from tenants.models import Tenant
from tenants.scope import platform_scope


class Command(BaseCommand):
    help = "Make rows of snapshots again whose manifests are in the Git store. Safe to run at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="", help="Slug of one tenant; without it, every tenant.")
        parser.add_argument(
            "--new-store",
            action="store_true",
            help="Begin an empty Git store for a tenant whose store is lost for good; its history is given up.",
        )

    def _begin_anew(self, tenant: Tenant) -> None:
        try:
            store = begin_anew(tenant.pk)
        except OpsError as error:
            raise CommandError(f"{error.message} {error.recovery}") from error
        self.stdout.write(f"{tenant.slug}: an empty store, {store.path}. Capture every environment now.")

    def handle(self, *args: Any, **options: Any) -> None:
        with platform_scope():
            rows = Tenant.objects.filter(slug=options["tenant"]) if options["tenant"] else Tenant.objects.all()
            tenants = list(rows.order_by("slug"))
        if options["tenant"] and not tenants:
            raise CommandError(f"There is no tenant “{options['tenant']}”.")
        if options["new_store"]:
            if not options["tenant"]:
                raise CommandError("Say of which tenant the store is given up: --tenant SLUG.")
            self._begin_anew(tenants[0])
            return
        for tenant in tenants:
            made = recover(tenant_id=tenant.pk)
            self.stdout.write(f"{tenant.slug}: {len(made)} made again")
            for snapshot_id in made:
                self.stdout.write(f"  {snapshot_id}")
