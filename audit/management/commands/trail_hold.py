"""``manage.py trail_hold``: keep a tenant's trail, or let it go again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.services import place_hold, release_holds
from core.errors import OpsError
from tenants.models import Tenant
from tenants.scope import platform_scope


class Command(BaseCommand):
    help = "SealedUpTo a legal hold: while it is in force, no month with entries of the tenant leaves the trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", metavar="SLUG")
        parser.add_argument("--reason", default="")
        parser.add_argument("--release", action="store_true", help="end the holds of the tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        with platform_scope():
            tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"No tenant has the short name {options['tenant']}.")
        if options["release"]:
            self.stdout.write(f"{release_holds(tenant_id=tenant.pk)} holds released.")
            return
        try:
            place_hold(tenant_id=tenant.pk, reason=options["reason"])
        except OpsError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"The trail of {tenant.name} is kept until the hold is released.")
