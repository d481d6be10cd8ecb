"""The trail as a file: PostgreSQL's own COPY in the scope's role, block by block, with a manifest and an event."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db import connection

from opsconsole.core import clock
from opsconsole.core.errors import Invalid

from .models import AuditLog
from .sealing import last_place
from .selectors import TrailFilter, filtered
from .services import record_event

COLUMNS = (
    "id", "created_at", "tenant_id", "actor_user_id", "impersonated_user_id", "session_id", "request_id",
    "operation_id", "source", "action", "resource_type", "resource_id", "object_repr", "ip_address", "database_role",
    "transaction_id", "epoch", "details",
)  # fmt: skip
#: JSON has neither of these raw, so COPY writes each line as it is.
_LINES = "FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02'"
FORMATS = {"csv": "FORMAT csv, HEADER true", "jsonl": _LINES}


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


def export_trail(
    wanted: TrailFilter, *, kind: str, write: Callable[[bytes], Any], tenant_id: uuid.UUID | None = None
) -> Manifest:
    """Write the entries that match, oldest first, as ``csv`` or ``jsonl``; memory stays flat.

    In a scope that sees them; in a tenant's scope ``tenant_id`` is its own. Leaves the event TRAIL_EXPORTED with the
    manifest. Raises ``Invalid`` for another format or a filter that cannot be read.
    """
    if kind not in FORMATS:
        raise Invalid(f"An export is one of: {', '.join(FORMATS)}.", details={"format": kind})
    rows = filtered(wanted) if tenant_id is None else filtered(wanted).filter(tenant_id=tenant_id)
    query, params = rows.order_by("created_at", "id").values_list(*COLUMNS).query.sql_with_params()
    digest, size = hashlib.sha256(), 0
    with connection.cursor() as cursor:
        inner = cursor.mogrify(query, params)
        if kind == "jsonl":
            inner = f"SELECT row_to_json(t) FROM ({inner}) AS t"  # noqa: S608 -- Django's own SQL
        with cursor.copy(f"COPY ({inner}) TO STDOUT ({FORMATS[kind]})") as blocks:
            for block in blocks:
                data = bytes(block)
                digest.update(data)
                size += len(data)
                write(data)
        count = cursor.rowcount
    place = last_place()
    manifest = Manifest(
        format=kind,
        parameters={f.name: getattr(wanted, f.name) for f in fields(wanted) if getattr(wanted, f.name)},
        tenant_id=str(tenant_id or ""),
        columns=COLUMNS,
        rows=count,
        bytes=size,
        sha256=digest.hexdigest(),
        seal_number=place.number,
        seal_chain=place.chain,
        created_at=clock.now().isoformat(),
    )
    said = {name: value for name, value in asdict(manifest).items() if name != "columns"}
    record_event(action="TRAIL_EXPORTED", resource_type=AuditLog._meta.db_table, tenant_id=tenant_id, details=said)
    return manifest
