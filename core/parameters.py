"""The last door before PostgreSQL: a text that it refuses is sent as one that it takes, whoever forgot to make it so.

Without it one odd name, from an n8n or from a caller of the REST API, ends a job or a request with a database error.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types.json import Jsonb, JsonbDumper
from psycopg.types.string import StrDumperUnknown

from .texts import storable, tidied


class TextDumper(StrDumperUnknown):
    """Texts."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj if obj.isascii() and "\0" not in obj else storable(obj))


class DocumentDumper(JsonbDumper):
    """JSON documents. Looked through again only where what was written may hold what PostgreSQL refuses."""

    def dump(self, obj: Any) -> Buffer | None:
        written = super().dump(obj)
        if written is None or not any(mark in bytes(written) for mark in (b"\\u0000", b"\\ud", b"\\uD")):
            return written
        if isinstance(obj, Jsonb):
            return super().dump(Jsonb(tidied(obj.obj), obj.dumps))
        return super().dump(tidied(obj))


def install() -> None:
    """Once, before the first connection: what Django registers for a connection starts from these."""
    psycopg.adapters.register_dumper(str, TextDumper)
    psycopg.adapters.register_dumper(Jsonb, DocumentDumper)
