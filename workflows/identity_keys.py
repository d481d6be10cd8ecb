"""Keys of workflows and their n8n ids in an environment, and the lock under which they are decided."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import connection

from .models import CanonicalWorkflow, MapStatus, WorkflowEnvMap

LIVE = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED)


def lock_identities(tenant_id: uuid.UUID) -> None:
    """Let one transaction at a time decide identities in a tenant; released at its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('identity:' || %s, 0))", [str(tenant_id)])


def key_by_workflow_id(environment_id: uuid.UUID) -> dict[str, str]:
    """n8n id to key of everything that lives in the environment. Needs the tenant's scope."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id).exclude(status=MapStatus.DELETED)
    return _with_keys(rows.exclude(env_workflow_id="").values_list("env_workflow_id", "canonical_workflow_id"))


def key_by_former_id(environment_id: uuid.UUID) -> dict[str, str]:
    """The same, with everything that lived there once: what still calls it has its id."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id).exclude(env_workflow_id="")
    former = _with_keys(rows.values_list("env_workflow_id", "canonical_workflow_id"))
    return {**former, **key_by_workflow_id(environment_id)}


def workflow_id_by_key(environment_id: uuid.UUID) -> dict[str, str]:
    """Key to n8n id of everything that lives in the environment and is not missing. Needs the tenant's scope."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, status__in=LIVE).exclude(env_workflow_id="")
    found = _with_keys(rows.values_list("env_workflow_id", "canonical_workflow_id"))
    return {key: workflow_id for workflow_id, key in found.items()}


def canonical_ids(keys: Iterable[str]) -> dict[str, uuid.UUID]:
    """Key to the tenant's own id of a workflow. Needs the tenant's scope."""
    return dict(CanonicalWorkflow.objects.filter(key__in=list(keys)).values_list("key", "pk"))


def _with_keys(rows: Iterable[tuple[str, uuid.UUID]]) -> dict[str, str]:
    # Two plain reads put together here: on tables that were just filled, the planner takes a join behind row
    # security for a handful of rows and loops over ten thousand times ten thousand (23 s against 0.1 s).
    mappings = list(rows)
    keys = dict(CanonicalWorkflow.objects.values_list("pk", "key")) if mappings else {}
    return {workflow_id: keys[canonical_id] for workflow_id, canonical_id in mappings}
