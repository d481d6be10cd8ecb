"""What a report is: a title, the question it answers, columns, and one query whose order is total.

An app declares its reports in its ``console.py``; ``reports`` makes, schedules and sends them. The query's parameters
are ``since``, ``until``, ``as_of`` (moments), ``person`` (an address or ''), ``tenant`` (a short name or '') and
``platform`` (whether it runs for the platform). Row-level security decides whose rows it sees: the same query runs in
a tenant's scope and in the platform's. It ends in a total order, so that the same question gives the same bytes.
"""

# ruff: noqa: S608 -- put together from constants; what a person enters is a parameter

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

IN_PERIOD = "{0} >= %(since)s AND {0} < %(until)s"
_TENANT_ID = "(SELECT id FROM tenants WHERE slug = %(tenant)s)"
_PERSON_ID = "(SELECT id FROM users WHERE lower(email) = lower(%(person)s))"


@dataclass(frozen=True, slots=True)
class Column:
    """``kind``: text, time, integer, decimal or boolean. Only text can carry what a spreadsheet takes for a formula."""

    name: str
    label: str
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``has_period`` False: how things stand now, whatever the period. ``note`` says what is left out, and why.

    ``sql`` is a function where the query depends on what the apps declare. ``name`` is stored with each report made.
    """

    name: str
    title: str
    answers: str
    columns: tuple[Column, ...]
    sql: str | Callable[[], str]
    position: int = 1000
    has_period: bool = True
    note: str = ""

    @property
    def sources(self) -> str:
        """SQL of the rows with exactly these columns, in order."""
        return f"SELECT {', '.join(c.name for c in self.columns)} FROM ({self.query}) AS found"

    @property
    def query(self) -> str:
        return self.sql if isinstance(self.sql, str) else self.sql()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSource:
    """One way in which people hold access, for the access review.

    ``sql`` selects: access, user_id, tenant_id, role, grants, granted_at, granted_by_id, granted_how, last_used,
    expires_at, tie (text that makes the order total). A ``grant_table`` is one of guardian's: the query may join
    ``given`` (resource_type, object_pk, created_at, actor_user_id, source) for the last time that a row was created.
    """

    position: int
    sql: str
    grant_table: str = ""


def of_tenant(column: str) -> str:
    """The condition that a row belongs to the tenant asked for, if one is."""
    return f"(%(tenant)s::text = '' OR {column} = {_TENANT_ID})"


def of_person(*columns: str) -> str:
    """The condition that one of the columns is the person asked for, if one is."""
    matches = " OR ".join(f"{column} = {_PERSON_ID}" for column in columns)
    return f"(%(person)s::text = '' OR {matches})"


def listed(values: Iterable[str]) -> str:
    """Constants as the inside of SQL's ``IN (…)``; one that matches nothing where there are none."""
    return ", ".join(f"'{value}'" for value in values) or "NULL"
