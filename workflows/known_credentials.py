"""The credentials of an environment: those that workflows were seen to use, and those on the instance's own list."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from tenants.scope import tenant_scope

from .models import KnownCredential

BATCH = 1000
CredentialKey = tuple[str, str]
"""Type and id."""
_UNIQUE = ["environment", "credential_type", "credential_id"]


def record_credentials(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    used: Iterable[tuple[str, str, str]],
    seen_at: datetime,
    complete: bool,
    source: str = "seen",
) -> int:
    """Record which credentials were used (type, name, id), once per use; returns how many different ones.

    n8n renames lazily: where one id comes under several names, the most used name is kept, unless the instance's own
    list has given one; the others are kept beside it.
    """
    names = _names_used(used)
    with tenant_scope(tenant_id):
        here = KnownCredential.objects.filter(environment_id=environment_id)
        listed = _listed_names(here)
        if complete and source == "seen":
            here.filter(uses__gt=0).update(uses=0)
        KnownCredential.objects.bulk_create(
            [
                KnownCredential(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    credential_type=key[0],
                    credential_id=key[1],
                    name=listed.get(key) or counts.most_common(1)[0][0],
                    also_named=[] if key in listed else [name for name, _ in counts.most_common()[1:9]],
                    source=source,
                    uses=counts.total() if source == "seen" else 0,
                    last_seen_at=seen_at,
                )
                for key, counts in names.items()
            ],
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=_UNIQUE,
            update_fields=["name", "also_named", "last_seen_at", "uses" if source == "seen" else "source"],
        )
    return len(names)


def _names_used(used: Iterable[tuple[str, str, str]]) -> dict[CredentialKey, Counter[str]]:
    names: dict[CredentialKey, Counter[str]] = {}
    for kind, name, credential_id in used:
        names.setdefault((kind[:120], credential_id[:64]), Counter())[name[:200]] += 1
    return names


def _listed_names(here: QuerySet[KnownCredential]) -> dict[CredentialKey, str]:
    rows = here.filter(source="listed").values_list("credential_type", "credential_id", "name")
    return {(kind, credential_id): name for kind, credential_id, name in rows}


def record_listed_credentials(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, listed: Iterable[Mapping[str, Any]], seen_at: datetime
) -> None:
    """Record the instance's own list (``{id, name, type}`` each): what is not on it is gone."""
    names = {(str(c["type"])[:120], str(c["id"])[:64]): str(c["name"])[:200] for c in listed}
    with tenant_scope(tenant_id):
        here = KnownCredential.objects.filter(environment_id=environment_id)
        unchanged = _reconciled_with_list(here, names)
        KnownCredential.objects.bulk_create(
            [
                KnownCredential(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    credential_type=kind,
                    credential_id=credential_id,
                    name=name,
                    source="listed",
                    last_seen_at=seen_at,
                )
                for (kind, credential_id), name in names.items()
                if (kind, credential_id) not in unchanged
            ],
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=_UNIQUE,
            update_fields=["name", "also_named", "source", "is_gone", "last_seen_at"],
        )


def _reconciled_with_list(here: QuerySet[KnownCredential], names: Mapping[CredentialKey, str]) -> set[CredentialKey]:
    """Mark as gone what the list lacks; returns the credentials whose rows are as the list has them."""
    unchanged, gone = set(), []
    for row in here.values_list("pk", "credential_type", "credential_id", "name", "source", "is_gone", named=True):
        key = (row.credential_type, row.credential_id)
        if key not in names and not row.is_gone:
            gone.append(row.pk)
        elif row.source == "listed" and not row.is_gone and names.get(key) == row.name:
            unchanged.add(key)
    if gone:
        here.filter(pk__in=gone).update(is_gone=True)
    return unchanged
