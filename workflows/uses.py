"""Which workflows use a credential, a type of node or a host, by what was seen of them: for the bar and the list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.core.cache import cache
from django.db import connection
from django.db.models import Q

from core.ids import uuid_or_none

from .models import KnownCredential

CREDENTIAL, NODE, HOST = "credential", "node", "host"
_NAMES_SQL = """
SELECT t.name, count(DISTINCT m.canonical_workflow_id) FROM workflow_env_map m
 CROSS JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(m.fingerprint->%s) = 'array'
                                                   THEN m.fingerprint->%s ELSE '[]' END) AS t(name)
 WHERE m.tenant_id = %s AND m.status IN ('linked', 'unmapped')
 GROUP BY t.name ORDER BY 2 DESC, 1
"""
#: For so long a tenant's types of nodes, and its hosts, are remembered: they are gathered from all its workflows, and
#: asked per key.
_NAMES_KEPT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Uses:
    """What a list is narrowed to: as asked, in words, and of a workflow in an environment; None: to nothing."""

    asked: str = ""
    words: str = ""
    condition: Q | None = None


def using(asked: str) -> Uses:
    """What ``credential:<id>``, ``node:<type>`` or ``host:<name>`` asks.

    Nothing uses a credential that is not known. Needs the tenant's scope.
    """
    kind, _, value = asked.partition(":")
    if kind == NODE and value:
        return Uses(asked, f"a node of type {value}", Q(fingerprint__types__contains=[value]))
    if kind == HOST and value:
        return Uses(asked, f"an address at {value}", Q(fingerprint__hosts__contains=[value]))
    return _using_credential(asked, value) if kind == CREDENTIAL else Uses()


def _using_credential(asked: str, value: str) -> Uses:
    pk = uuid_or_none(value)
    known = KnownCredential.objects.filter(pk=pk).first() if pk else None
    if known is None:
        return Uses(asked, "a credential that is no longer known", Q(pk__in=()))
    ids = [known.credential_id]
    uses = Q(fingerprint__cred_ids__contains=ids) | Q(fingerprint__draft__cred_ids__contains=ids)
    return Uses(asked, f"the credential “{known.name}”", Q(environment_id=known.environment_id) & uses)


def node_types(*, tenant_id: uuid.UUID, q: str, limit: int) -> list[tuple[str, int]]:
    """Types of nodes whose name holds ``q``, and how many workflows have one; the most used first."""
    return _named(tenant_id, "types", q, limit)


def hosts(*, tenant_id: uuid.UUID, q: str, limit: int) -> list[tuple[str, int]]:
    """Hosts whose name holds ``q``, and how many workflows name one in an address; the most used first."""
    return _named(tenant_id, "hosts", q, limit)


def _named(tenant_id: uuid.UUID, part: str, q: str, limit: int) -> list[tuple[str, int]]:
    asked = q.lower()
    return [(name, count) for name, count in _all_named(tenant_id, part) if asked in name.lower()][:limit]


def _all_named(tenant_id: uuid.UUID, part: str) -> list[tuple[str, int]]:
    """Every name in one part of the fingerprints of a tenant's workflows."""
    key = f"node-{part}:{tenant_id}"
    found = cache.get(key)
    if not found:
        with connection.cursor() as cursor:
            cursor.execute(_NAMES_SQL, [part, part, tenant_id])
            found = cursor.fetchall()
        cache.set(key, found, timeout=_NAMES_KEPT_SECONDS)
    return [(str(name), int(count)) for name, count in found]
