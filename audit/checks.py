"""What Django checks when a command or the web server starts: the trail watches every table that matters, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, register
from django.db.migrations import Migration, RunSQL
from django.db.migrations.loader import MigrationLoader

from core.checks import DECLARATIONS
from core.registry import registry
from tenants.base import TenantModel, TenantOrPlatformModel

_WATCHED = re.compile(r"CREATE TRIGGER trail_\w+ AFTER \w+ ON (\w+)")


@register(DECLARATIONS)
def every_watched_table_is_a_subject(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Without one the trail would tell of it in the database's words."""
    return [
        Error(
            f"The trail watches the table {table} of {app}, and {app}/console.py has no Subject for it.",
            hint=f"Add Subject(table={table!r}, noun=…) to its subjects.",
            id="opsconsole.E102",
        )
        for table, app in sorted(watched_tables().items())
        if table not in registry.subjects()
    ]


@register(DECLARATIONS)
def every_table_of_a_tenant_is_watched(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A write to a tenant's table that the trail does not see must be somebody's decision."""
    known = {*watched_tables(), *registry.bookkeeping_tables()}
    return [
        Error(
            f"The trail does not watch the table {model._meta.db_table} of {model._meta.app_config.name}.",
            hint=f"Hang the trail's triggers on it in a migration, or add {model._meta.db_table!r} to the"
            " bookkeeping_tables of its console.py.",
            id="opsconsole.E103",
        )
        for model in apps.get_models()
        if issubclass(model, TenantModel | TenantOrPlatformModel) and model._meta.managed
        if model._meta.db_table not in known and model._meta.app_config.name in registry.consoles
    ]


def watched_tables() -> dict[str, str]:
    """Each table on which a migration has hung the trail's triggers and that is still there, with its app."""
    owners = {model._meta.db_table: model._meta.app_config.name for model in apps.get_models(include_auto_created=True)}
    migrations = MigrationLoader(None).disk_migrations.values()
    found = {table for migration in migrations for table in _watched_by(migration)}
    return {table: owners[table] for table in found & owners.keys()}


def _watched_by(migration: Migration) -> Iterator[str]:
    for operation in migration.operations:
        if isinstance(operation, RunSQL):
            statements = [operation.sql] if isinstance(operation.sql, str) else operation.sql
            for statement in statements:
                yield from _WATCHED.findall(statement if isinstance(statement, str) else str(statement[0]))
