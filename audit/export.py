"""The trail as a file: PostgreSQL's own COPY in the scope's role, block by block, with a manifest and an event."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection
from django.db.models import QuerySet

from core import clock
from core.errors import Invalid
from core.spreadsheets import harmless

from .models import AuditLog, LogEntry
from .ocsf import to_ocsf
from .sealing import last_sealed
from .selectors import TrailFilter, filtered
from .services import record_event

COLUMNS = (
    "id", "created_at", "tenant_id", "actor_user_id", "impersonated_user_id", "session_id", "request_id",
    "operation_id", "source", "action", "resource_type", "resource_id", "object_repr", "ip_address", "database_role",
    "transaction_id", "epoch", "details",
)  # fmt: skip
#: What people call things, and what a caller gave as a request's id. The rest is ours, or begins with a brace.
FREE_TEXTS = ("object_repr", "request_id")
#: JSON has neither of these raw, so COPY writes each line as it is.
_LINES = "FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02'"
_COPY = {"csv": "FORMAT csv, HEADER true", "jsonl": _LINES, "ocsf": _LINES}
FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "ocsf": "OCSF events, for a SIEM"}
#: Beyond so many, counting beforehand says "more than".
COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds: enough to tell later that it is whole and what it was asked for.

    ``seal_number`` and ``seal_chain`` name the chain's head when it was made.
    """

    format: str
    parameters: dict[str, str]
    tenant_id: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    seal_number: int
    seal_chain: str
    created_at: str


def count_matching(wanted: TrailFilter, *, most: int = COUNTED) -> int:
    """How many entries an export would hold; ``most + 1`` where there are more. In a scope that sees them."""
    return filtered(wanted)[: most + 1].count()


def export_trail(
    wanted: TrailFilter, *, kind: str, write: Callable[[bytes], Any], tenant_id: uuid.UUID | None = None
) -> Manifest:
    """Write the entries that match, oldest first, as one of ``FORMATS``; memory stays flat.

    In a scope that sees them; in a tenant's scope ``tenant_id`` is its own. Leaves the event TRAIL_EXPORTED with the
    manifest. Raises ``Invalid`` for another format or a filter that cannot be read.
    """
    if kind not in FORMATS:
        raise Invalid(f"An export is one of: {', '.join(FORMATS)}.", details={"format": kind})
    rows = filtered(wanted) if tenant_id is None else filtered(wanted).filter(tenant_id=tenant_id)
    digest, size = hashlib.sha256(), 0

    def out(block: bytes) -> None:
        nonlocal size
        digest.update(block)
        size += len(block)
        write(block)

    count = _copy(rows, kind, out)
    sealed = last_sealed()
    manifest = Manifest(
        format=kind,
        parameters=wanted.asked(),
        tenant_id=str(tenant_id or ""),
        columns=COLUMNS if kind != "ocsf" else (),
        rows=count,
        bytes=size,
        sha256=digest.hexdigest(),
        seal_number=sealed.number,
        seal_chain=sealed.chain,
        created_at=clock.now().isoformat(),
    )
    details = {name: value for name, value in asdict(manifest).items() if name != "columns"}
    record_event(action="TRAIL_EXPORTED", resource_type=AuditLog._meta.db_table, tenant_id=tenant_id, details=details)
    return manifest


def _copy(rows: QuerySet[AuditLog], kind: str, out: Callable[[bytes], Any]) -> int:
    """Give each row to ``out`` as PostgreSQL hands it over; how many there were."""
    columns = (*COLUMNS, "object_pk") if kind == "ocsf" else COLUMNS
    query, params = rows.order_by("created_at", "id").values_list(*columns).query.sql_with_params()
    with connection.cursor() as cursor:
        inner = cursor.mogrify(query, params)
        if kind == "csv":
            cells = ", ".join(harmless(name) if name in FREE_TEXTS else name for name in columns)
            inner = f"SELECT {cells} FROM ({inner}) AS t"  # noqa: S608 -- Django's own SQL
        else:
            inner = f"SELECT row_to_json(t) FROM ({inner}) AS t"  # noqa: S608 -- Django's own SQL
        with cursor.copy(f"COPY ({inner}) TO STDOUT ({_COPY[kind]})") as blocks:
            for block in blocks:
                out(bytes(block) if kind != "ocsf" else orjson.dumps(to_ocsf(_entry(bytes(block)))) + b"\n")
        return int(cursor.rowcount)


def _entry(line: bytes) -> LogEntry:
    """The entry that a line of JSON holds, as far as an OCSF event tells of it."""
    row = orjson.loads(line)
    return LogEntry(
        id=row["id"],
        timestamp=datetime.fromisoformat(row["created_at"]),
        tenant_id=row["tenant_id"],
        actor_id=row["actor_user_id"],
        acting_as_id=row["impersonated_user_id"],
        session_id=row["session_id"],
        cid=row["request_id"],
        operation_id=row["operation_id"],
        source=row["source"],
        action_name=row["action"],
        resource_type=row["resource_type"],
        resource_id=row["resource_id"],
        object_pk=row["object_pk"],
        object_repr=row["object_repr"],
        remote_addr=row["ip_address"],
        database_role=row["database_role"],
        transaction_id=row["transaction_id"],
        epoch=row["epoch"],
        details=row["details"],
    )
