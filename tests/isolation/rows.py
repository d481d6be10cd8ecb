"""One row of every table of a tenant, made from what the models say of themselves."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from django.apps import apps
from django.db import models

from core import clock
from tenants.models import Tenant, User

_numbers = itertools.count(1)
#: Rows that only the database itself writes.
WRITTEN_BY_TRIGGER = frozenset({"audit_logs", "audit_entries", "audit_logentry"})


def tenant_models() -> list[type[models.Model]]:
    """Every managed model whose rows belong to a tenant, parents before children."""
    found = [model for model in apps.get_models() if model._meta.managed and _tenant_column(model)]
    return [model for model in found if model._meta.db_table not in WRITTEN_BY_TRIGGER]


def _tenant_column(model: type[models.Model]) -> str:
    columns = {field.column for field in model._meta.local_fields}
    return next((name for name in ("tenant_id", "impersonated_tenant_id") if name in columns), "")


def platform_models() -> list[type[models.Model]]:
    """Those of them whose rows may be the platform's: without a tenant."""
    return [model for model in tenant_models() if model._meta.get_field(_tenant_column(model)).null]


class Maker:
    """Makes rows for one tenant, or for the platform; references point to rows that it made before."""

    def __init__(self, tenant: Tenant | None, user: User) -> None:
        self.tenant = tenant
        self.made: dict[type[models.Model], models.Model] = {User: user, **({Tenant: tenant} if tenant else {})}

    def make(self, model: type[models.Model]) -> models.Model:
        if model not in self.made:
            values = {field.attname: self._value(field) for field in model._meta.local_fields if self._asked(field)}
            self.made[model] = model._default_manager.create(**values)
        return self.made[model]

    def _asked(self, field: models.Field[Any, Any]) -> bool:
        if field.is_relation and field.name in ("tenant", "impersonated_tenant"):
            return True
        return not (field.null or field.has_default() or field.primary_key or getattr(field, "auto_now_add", False))

    def _value(self, field: models.Field[Any, Any]) -> Any:
        number = next(_numbers)
        if self.tenant is None and field.column == "tenant_id":
            return None
        if isinstance(field, models.ForeignKey):
            parent = field.related_model
            if parent.__name__ == "Permission":
                return parent._default_manager.filter(codename="view_environment").values_list("pk", flat=True).get()
            if field.name == "impersonated_user":
                # Nobody takes their own place.
                return User.objects.create(email=f"{uuid.uuid4().hex}@example.org").pk
            return self.make(parent).pk
        if field.name == "tenant_id":
            return self.made[Tenant].pk
        if isinstance(field, models.DateTimeField):
            return clock.now()
        if isinstance(field, models.UUIDField):
            return uuid.uuid4()
        if isinstance(field, models.BooleanField):
            return False
        if isinstance(field, models.IntegerField | models.FloatField):
            return number
        if isinstance(field, models.BinaryField):
            return b"x"
        if isinstance(field, models.JSONField):
            return {}
        return field.choices[0][0] if field.choices else f"x{number}"


def one_of_each_of_the_platform() -> dict[type[models.Model], models.Model]:
    """A row without a tenant in every table that may hold one. In the platform's scope."""
    maker = Maker(None, User.objects.create(email=f"{uuid.uuid4().hex}@example.org", name="Somebody"))
    return {model: maker.make(model) for model in platform_models()}


def one_of_each(tenant: Tenant) -> dict[type[models.Model], models.Model]:
    """A row of every tenant table. In a scope that may write for ``tenant``."""
    maker = Maker(tenant, User.objects.create(email=f"{uuid.uuid4().hex}@example.org", name="Somebody"))
    return {model: maker.make(model) for model in tenant_models()}
