"""Put every stored secret under the newest key of ``OPSCONSOLE_FIELD_KEYS``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import models

from opsconsole.core import context, crypto
from tenants.models import Tenant
from tenants.scope import platform_scope
from workflows.models import Environment

ENCRYPTED: tuple[tuple[type[models.Model], str], ...] = (
    (Environment, "api_key_encrypted"),
    (Tenant, "git_remote_secret"),
)


class Command(BaseCommand):
    help = "Encrypt every stored secret anew with the first key; afterwards the older keys can be dropped."

    def handle(self, *args: Any, **options: Any) -> None:
        for model, column in ENCRYPTED:
            self.stdout.write(f"{model._meta.db_table}.{column}: {rotate(model, column)} secrets")


def rotate(model: type[models.Model], column: str) -> int:
    """Re-encrypt one column; how many. A secret that was changed meanwhile is left as it is: it has the new key."""
    count = 0
    with context.acting(source="shell"), platform_scope():
        for pk, token in model._default_manager.exclude(**{column: ""}).values_list("pk", column):
            row = model._default_manager.filter(pk=pk, **{column: token})
            count += row.update(**{column: crypto.rotate(token)})
    return count
