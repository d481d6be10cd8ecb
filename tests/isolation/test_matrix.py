"""Another tenant's rows: every table, every way to read or write, every path through which work is done.

The rows of *theirs* are attacked from a scope of *ours*, with the id known. Nothing may be seen, changed or added.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import uuid
from collections.abc import Callable
from typing import Any

import orjson
import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from celery import shared_task
from django.db import Error, ProgrammingError, connection, models, transaction

from conftest import Cast, owner_connection
from tenants import isolation
from tenants.scope import platform_scope, tenant_scope

from .rows import (
    WRITTEN_BY_TRIGGER,
    _tenant_column,
    one_of_each,
    one_of_each_of_the_platform,
    platform_models,
    tenant_models,
)

Row = models.Model


def refused() -> Any:
    """By row security itself, not by chance: it is asked before any key or constraint."""
    return pytest.raises((Error, psycopg.Error), match="row-level security")


def denied() -> Any:
    """By row security, or because the role may not do that to the table at all."""
    return pytest.raises((Error, psycopg.Error), match=r"row-level security|permission denied")


@pytest.fixture
def theirs(live_cast: Cast) -> list[Row]:
    """A row of every table, of the tenant that is not ours; ours has one of each as well."""
    with platform_scope():
        one_of_each(live_cast.tenant)
        return list(one_of_each(live_cast.other_tenant).values())


@pytest.fixture
def platforms(live_cast: Cast) -> list[Row]:
    """A row of the platform in every table that may hold one: without a tenant."""
    with platform_scope():
        return list(one_of_each_of_the_platform().values())


def everything(table: str) -> dict[str, str]:
    """What stands in a table behind everybody's back: id to the whole row."""
    with owner_connection() as owner:
        return dict(owner.execute(f'SELECT id::text, to_jsonb(t)::text FROM "{table}" t').fetchall())


def whole(row: Row) -> dict[str, Any]:
    return orjson.loads(everything(row._meta.db_table)[str(row.pk)])


def raw(statement: str, parameters: Any = None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


def send_row(cursor: Any, statement: str, values: list[Any]) -> None:
    with cursor.copy(statement) as into:
        into.write_row(values)


def as_row(table: str) -> str:
    return f'INSERT INTO "{table}" SELECT (jsonb_populate_record(NULL::"{table}", %s)).*'


class Raw:
    """As somebody who found a way to send SQL."""

    def select(self, row: Row) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT count(*) FROM "{row._meta.db_table}" WHERE id = %s', [row.pk])
            assert cursor.fetchone() == (0,)

    def insert(self, row: Row) -> None:
        record = whole(row) | {"id": _another(row)}
        with refused(), transaction.atomic():
            raw(as_row(row._meta.db_table), [orjson.dumps(record).decode()])

    def update(self, row: Row) -> None:
        column = _tenant_column(type(row))
        assert raw(f'UPDATE "{row._meta.db_table}" SET {column} = {column} WHERE id = %s', [row.pk]) == 0

    def delete(self, row: Row) -> None:
        assert raw(f'DELETE FROM "{row._meta.db_table}" WHERE id = %s', [row.pk]) == 0

    def upsert(self, row: Row) -> None:
        column = _tenant_column(type(row))
        statement = as_row(row._meta.db_table) + f" ON CONFLICT (id) DO UPDATE SET {column} = EXCLUDED.{column}"
        ours = {column: _our_tenant()}
        for record in (whole(row), whole(row) | ours):
            with refused(), transaction.atomic():
                raw(statement, [orjson.dumps(record).decode()])

    def copy(self, row: Row) -> None:
        table = row._meta.db_table
        with connection.cursor() as cursor, cursor.copy(f'COPY (SELECT id::text FROM "{table}") TO STDOUT') as out:
            assert str(row.pk) not in {bytes(line).decode().strip() for line in out}
        record = whole(row) | {"id": _another(row)}
        columns = [field.column for field in row._meta.local_fields if record.get(field.column) is not None]
        names = ", ".join(f'"{name}"' for name in columns)
        with refused(), transaction.atomic(), connection.cursor() as cursor:
            send_row(cursor, f'COPY "{table}" ({names}) FROM STDIN', [_text(record[name]) for name in columns])


class Orm:
    """As the console's own code, with a mistake in it."""

    def select(self, row: Row) -> None:
        rows = type(row)._default_manager
        assert not rows.filter(pk=row.pk).exists()
        assert row.pk not in rows.values_list("pk", flat=True)

    def insert(self, row: Row) -> None:
        another = copy.copy(row)
        another.pk = _another(row)
        with refused(), transaction.atomic():
            another.save(force_insert=True)

    def update(self, row: Row) -> None:
        column = _tenant_column(type(row))
        assert type(row)._default_manager.filter(pk=row.pk).update(**{column: models.F(column)}) == 0
        with pytest.raises(Error, match="did not affect any rows"), transaction.atomic():
            row.save(force_update=True)

    def delete(self, row: Row) -> None:
        rows = type(row)._default_manager.filter(pk=row.pk)
        assert rows._raw_delete(rows.db) == 0  # type: ignore[attr-defined]

    def upsert(self, row: Row) -> None:
        column = _tenant_column(type(row))
        field = next(f.name for f in row._meta.local_fields if f.column == column)
        with refused(), transaction.atomic():
            type(row)._default_manager.bulk_create(
                [row], update_conflicts=True, unique_fields=["id"], update_fields=[field]
            )

    def copy(self, row: Row) -> None:
        assert row.pk not in {found.pk for found in type(row)._default_manager.iterator(chunk_size=50)}


class AsyncOrm:
    """The same through Django's asynchronous calls, as an async view would make them."""

    def select(self, row: Row) -> None:
        rows = type(row)._default_manager

        async def look() -> None:
            assert not await rows.filter(pk=row.pk).aexists()
            assert row.pk not in [pk async for pk in rows.values_list("pk", flat=True)]

        async_to_sync(look)()

    def insert(self, row: Row) -> None:
        another = copy.copy(row)
        another.pk = _another(row)
        with refused(), transaction.atomic():
            async_to_sync(another.asave)(force_insert=True)

    def update(self, row: Row) -> None:
        column = _tenant_column(type(row))
        assert async_to_sync(type(row)._default_manager.filter(pk=row.pk).aupdate)(**{column: models.F(column)}) == 0
        with pytest.raises(Error, match="did not affect any rows"), transaction.atomic():
            async_to_sync(row.asave)(force_update=True)

    def delete(self, row: Row) -> None:
        assert async_to_sync(type(row)._default_manager.filter(pk=row.pk).adelete)() == (0, {})

    def upsert(self, row: Row) -> None:
        column = _tenant_column(type(row))
        field = next(f.name for f in row._meta.local_fields if f.column == column)
        create = type(row)._default_manager.all().abulk_create
        with refused(), transaction.atomic():
            async_to_sync(create)([row], update_conflicts=True, unique_fields=["id"], update_fields=[field])

    def copy(self, row: Row) -> None:
        async def read() -> None:
            found = type(row)._default_manager.aiterator(chunk_size=50)
            assert row.pk not in {other.pk async for other in found}

        async_to_sync(read)()


def _another(row: Row) -> Any:
    return str(uuid.uuid4()) if isinstance(row._meta.pk, models.UUIDField) else 2**31 - 1


def _text(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _our_tenant() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('opsconsole.tenant_id')")
        return cursor.fetchone()[0]


def here(work: Callable[[], None]) -> None:
    work()


def in_async(work: Callable[[], None]) -> None:
    async def view() -> None:
        await sync_to_async(work)()

    asyncio.run(view())


_waiting: list[Callable[[], None]] = []


@shared_task(name="tests.isolation.work")
def task_body() -> None:
    _waiting.pop()()


def in_task(work: Callable[[], None]) -> None:
    _waiting.append(work)
    task_body.apply(throw=True)


#: Tables whose rows are of a tenant by another column; see ``test_the_tenants_themselves``.
BY_ANOTHER_COLUMN = {"tenants": "id", "tenant_grants": "content_object_id"}
STYLES = {"orm": Orm(), "raw": Raw(), "async": AsyncOrm()}
CARRIERS = (here, in_async, in_task)
OPERATIONS = ("select", "insert", "update", "delete", "upsert", "copy")


def test_every_table_of_a_tenant_has_cells(db: None) -> None:
    """The catalogue is asked, so that a table without a model, or a model left out, fails."""
    with platform_scope(), connection.cursor() as cursor:
        tables = isolation.tenant_tables(cursor)
    known = {model._meta.db_table for model in tenant_models()} | WRITTEN_BY_TRIGGER
    assert set(tables) - known == set(BY_ANOTHER_COLUMN)
    assert all(hasattr(style, operation) for style in STYLES.values() for operation in OPERATIONS)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_tenants_rows(live_cast: Cast, theirs: list[Row], operation: str, style: str) -> None:
    before = {row._meta.db_table: everything(row._meta.db_table) for row in theirs}
    attack = getattr(STYLES[style], operation)

    def work() -> None:
        with tenant_scope(live_cast.tenant.pk):
            for row in theirs:
                attack(row)

    for carry in CARRIERS:
        carry(work)
    assert {table: everything(table) for table in before} == before


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_rows_of_the_platform(live_cast: Cast, platforms: list[Row], operation: str, style: str) -> None:
    """An empty tenant is nobody's: neither that of the scope in force, nor that of no scope at all."""
    assert {"background_jobs", "operation_steps", "schedules"} <= {row._meta.db_table for row in platforms}
    before = {row._meta.db_table: everything(row._meta.db_table) for row in platforms}
    attack = getattr(STYLES[style], operation)
    with tenant_scope(live_cast.tenant.pk):
        for row in platforms:
            attack(row)
    if operation in ("select", "delete"):
        for row in platforms:
            attack(row)
    assert {table: everything(table) for table in before} == before


def test_rows_of_the_platform_are_found_by_the_platform(platforms: list[Row]) -> None:
    """The matrix above can fail."""
    assert len(platforms) == len(platform_models()) > 3
    with platform_scope():
        for row in platforms:
            with pytest.raises(AssertionError):
                Orm().select(row)


@pytest.mark.parametrize("table", BY_ANOTHER_COLUMN)
def test_the_tenants_themselves(live_cast: Cast, table: str) -> None:
    column, before = BY_ANOTHER_COLUMN[table], everything(table)
    wanted = str(live_cast.other_tenant.pk)
    row = next(orjson.loads(text) for text in before.values() if orjson.loads(text)[column] == wanted)
    with tenant_scope(live_cast.tenant.pk):
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT count(*) FROM "{table}" WHERE {column} = %s', [wanted])
            assert cursor.fetchone() == (0,)
        for statement in (f'UPDATE "{table}" SET {column} = {column}', f'DELETE FROM "{table}"'):
            # Where the tenant's role may do such a thing at all, it meets no row.
            with contextlib.suppress(ProgrammingError), transaction.atomic():
                assert raw(f"{statement} WHERE {column} = %s", [wanted]) == 0
        fresh = {**row, "id": str(uuid.uuid4()) if table == "tenants" else 2**31 - 1}
        for again in ("", " ON CONFLICT DO NOTHING"):
            with denied(), transaction.atomic():
                raw(as_row(table) + again, [orjson.dumps(fresh).decode()])
        with denied(), transaction.atomic(), connection.cursor() as cursor:
            send_row(cursor, f'COPY "{table}" FROM STDIN', list(fresh.values()))
    assert everything(table) == before


@pytest.mark.parametrize("style", STYLES)
def test_without_a_scope_there_is_nothing(theirs: list[Row], style: str) -> None:
    for row in theirs:
        STYLES[style].select(row)
        STYLES[style].delete(row)


def test_the_attacks_would_be_seen(live_cast: Cast, theirs: list[Row]) -> None:
    """The same questions from the rows' own scope find them: the matrix can fail."""
    with tenant_scope(live_cast.other_tenant.pk):
        for row in theirs:
            for style in STYLES.values():
                with pytest.raises(AssertionError):
                    style.select(row)
