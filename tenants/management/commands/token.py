"""``manage.py token``: a bearer token, printed once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import context
from tenants.models import Membership, Tenant, User
from tenants.scope import platform_scope
from tenants.tokens import create_token


class Command(BaseCommand):
    help = "Make an API token for a person and print it, this once. Nothing else goes to standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL", help="whose token")
        parser.add_argument(
            "--tenant", default="", metavar="SLUG", help="bind it to one tenant (default: all of theirs)"
        )
        parser.add_argument("--expires-days", type=int, default=90, metavar="N", help="0 for never (default 90)")
        parser.add_argument("--name", default="command line", help="what uses it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["expires_days"] < 0:
            raise CommandError("--expires-days must be 0 (never) or more.")
        with context.acting(source="shell"), platform_scope():
            user = User.objects.filter(email__iexact=options["user"], is_active=True).first()
            if user is None:
                raise CommandError(
                    f"Nobody active has the address {options['user']}. See the People page, or create_admin."
                )
            tenant = None
            if options["tenant"]:
                tenant = Tenant.objects.filter(slug=options["tenant"]).first()
                if tenant is None:
                    raise CommandError(f"No tenant has the short name {options['tenant']}.")
                if not Membership.objects.filter(user=user, tenant=tenant).exists():
                    self.stderr.write(
                        f"Note: {user.email} is no member of {tenant.name}; the token may open nothing there."
                    )
            token, secret = create_token(
                user=user, tenant=tenant, name=options["name"], expires_in_days=options["expires_days"] or None
            )
        until = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "without end"
        self.stderr.write(f"Token of {user.email} for {tenant.name if tenant else 'every tenant of theirs'}, {until}:")
        self.stdout.write(secret)
