"""Put every stored secret under the newest key of ``OPSCONSOLE_FIELD_KEYS``."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib.auth.hashers import is_password_usable
from django.core.management.base import BaseCommand
from django.db import models

from core import context, crypto
from core.registry import registry
from tenants.hashers import sealed, unsealed
from tenants.models import User
from tenants.scope import platform_scope

#: What of a second factor's data is secret; the rest of it is counters and public keys.
FACTOR_SECRETS = ("secret", "seed", "migrated_codes")


class Command(BaseCommand):
    help = "Encrypt every stored secret anew with the first key; afterwards the older keys can be dropped."

    def handle(self, *args: Any, **options: Any) -> None:
        for declared in registry.encrypted_columns():
            model = apps.get_model(declared.model)
            count = rotate(model, declared.column)
            self.stdout.write(f"{model._meta.db_table}.{declared.column}: {count} secrets")
        self.stdout.write(f"{User._meta.db_table}.password: {rotate_passwords()} hashes")
        self.stdout.write(f"{Authenticator._meta.db_table}.data: {rotate_second_factors()} secrets")


def rotate(model: type[models.Model], column: str) -> int:
    """Re-encrypt one column; how many. A secret that was changed meanwhile is left as it is: it has the new key."""
    count = 0
    with context.acting(source="shell"), platform_scope():
        for pk, token in model._default_manager.exclude(**{column: ""}).values_list("pk", column):
            row = model._default_manager.filter(pk=pk, **{column: token})
            count += row.update(**{column: crypto.rotate(token)})
    return count


def rotate_passwords() -> int:
    """The same for hashes of passwords, those of before they were encrypted as well; how many. Sign-ins go on."""
    count = 0
    with context.acting(source="shell"), platform_scope():
        for pk, stored in User.objects.values_list("pk", "password"):
            if is_password_usable(stored):
                count += User.objects.filter(pk=pk, password=stored).update(password=sealed(unsealed(stored)))
    return count


def rotate_second_factors() -> int:
    """The same for what authenticator apps and recovery codes are made of; how many factors."""
    count = 0
    with context.acting(source="shell"), platform_scope():
        for pk, data in Authenticator.objects.values_list("pk", "data"):
            fresh = {name: _rotated(value) if name in FACTOR_SECRETS else value for name, value in data.items()}
            if fresh != data:
                count += Authenticator.objects.filter(pk=pk, data=data).update(data=fresh)
    return count


def _rotated(value: Any) -> Any:
    if isinstance(value, list):
        return [_rotated(one) for one in value]
    return crypto.rotate(value) if crypto.is_token(value) else crypto.encrypt(value)
