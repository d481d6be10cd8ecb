"""PostgreSQL's 64-bit transaction numbers as a field."""

from __future__ import annotations

from typing import Any

from django.db import models


class TransactionIdField(models.Field):  # type: ignore[type-arg]
    """``xid8``: rises with every writing transaction of a cluster and never wraps around."""

    description = "PostgreSQL transaction number"

    def db_type(self, connection: Any) -> str:
        return "xid8"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(int(value))

    def to_python(self, value: Any) -> int | None:
        return None if value is None else int(value)
