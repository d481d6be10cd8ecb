"""Which workflows use a credential or a type of node, by what was seen of them; for the command bar and the list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q

from core.ids import uuid_or_none

from .models import KnownCredential

CREDENTIAL, NODE = "credential", "node"
_TYPES_SQL = """
SELECT t.name, count(DISTINCT m.canonical_workflow_id) FROM workflow_env_map m
 CROSS JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(m.fingerprint->'types') = 'array'
                                                   THEN m.fingerprint->'types' ELSE '[]' END) AS t(name)
 WHERE m.tenant_id = %s AND m.status IN ('linked', 'unmapped') AND lower(t.name) LIKE %s
 GROUP BY t.name ORDER BY 2 DESC, 1 LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Uses:
    """What a list is narrowed to: as asked, in words, and of a workflow in an environment; None: to nothing."""

    asked: str = ""
    words: str = ""
    condition: Q | None = None


def using(asked: str) -> Uses:
    """What ``credential:<id>`` or ``node:<type>`` asks. Needs the tenant's scope."""
    kind, _, value = asked.partition(":")
    if kind == NODE and value:
        return Uses(asked, f"a node of type {value}", Q(fingerprint__types__contains=[value]))
    pk = uuid_or_none(value) if kind == CREDENTIAL else None
    known = KnownCredential.objects.filter(pk=pk).first() if pk else None
    if known is None:
        return Uses()
    uses = Q(environment_id=known.environment_id, fingerprint__cred_ids__contains=[known.credential_id])
    return Uses(asked, f"the credential “{known.name}”", uses)


def node_types(*, tenant_id: uuid.UUID, q: str, limit: int) -> list[tuple[str, int]]:
    """Types of nodes whose name holds ``q``, and how many workflows have one; the most used first."""
    pattern = q.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    with connection.cursor() as cursor:
        cursor.execute(_TYPES_SQL, [tenant_id, f"%{pattern}%", limit])
        return [(str(name), int(count)) for name, count in cursor.fetchall()]
