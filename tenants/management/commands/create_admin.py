"""``manage.py create_admin``: the first platform admin of a production installation."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import context
from core.errors import OpsError
from tenants import people, services
from tenants.models import User
from tenants.scope import platform_scope


class Command(BaseCommand):
    help = (
        "Make a person a platform admin, creating them if need be. The password is asked for, or read from"
        " OPSCONSOLE_ADMIN_PASSWORD; with --link none is set and a one-time link is printed instead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", default="")
        parser.add_argument("--link", action="store_true", help="print a one-time sign-in link instead of asking")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with context.acting(source="shell"):
                self._make(options)
        except OpsError as error:
            details = "; ".join(f"{name}: {value}" for name, value in error.details.items())
            raise CommandError(f"{error.message} {details}\n{error.recovery}") from error

    def _make(self, options: dict[str, Any]) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            password = None if options["link"] else self._password()
            user = services.create_user(email=options["email"], name=options["name"], password=password)
        with platform_scope():
            services.make_platform_admin(user=user, by=None)
        self.stderr.write(f"{user.email} is a platform admin.")
        if options["link"]:
            self.stderr.write("Open this path of the console once, within three days, to choose the password:")
            self.stdout.write(people.show_sign_in_link(user=user, by=None))

    def _password(self) -> str:
        given = os.environ.get("OPSCONSOLE_ADMIN_PASSWORD")
        if given:
            return given
        if not sys.stdin.isatty():
            raise CommandError("No terminal to ask for a password: set OPSCONSOLE_ADMIN_PASSWORD, or use --link.")
        first, second = getpass.getpass("Password: "), getpass.getpass("Again: ")
        if first != second:
            raise CommandError("The two are not the same.")
        return first
