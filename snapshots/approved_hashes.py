"""What is approved, by the hashes that the database keeps: for when Git has lost the branch that says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from tenants.scope import tenant_scope
from workflows.models import Environment, WorkflowEnvMap

#: Snapshots that are looked through, newest first.
MOST_SNAPSHOTS = 500
_ENTRIES = """
WITH newest AS (
    SELECT workflows, created_at FROM snapshots
     WHERE environment_id = %(environment)s AND jsonb_typeof(workflows) = 'array'
     ORDER BY created_at DESC LIMIT %(most)s)
SELECT e ->> 'key', e ->> 'env_workflow_id', e ->> 'content_hash', e ->> 'blob',
       e -> 'draft' ->> 'content_hash', e -> 'draft' ->> 'blob'
  FROM newest CROSS JOIN LATERAL jsonb_array_elements(workflows) e
 WHERE e ->> 'key' = ANY(%(keys)s)
 ORDER BY created_at
"""


@dataclass(frozen=True, slots=True)
class Approved:
    """Key → name in Git of what is approved; and n8n ids that it may call by, with their keys.

    ``lost_branch`` is the branch that should have said it.
    """

    blobs: Mapping[str, str]
    references: Mapping[str, str] = field(default_factory=dict)
    lost_branch: str = ""


def approved_by_hash(environment: Environment, *, drafts: bool = False) -> Approved:
    """What the environment's snapshots hold under the hashes that are approved. Outside any scope."""
    column = "git_draft_hash" if drafts else "git_content_hash"
    with tenant_scope(environment.tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk)
        hashes = dict(rows.values_list("canonical_workflow__key", column))
        with connection.cursor() as cursor:
            asked: dict[str, Any] = {"environment": environment.pk, "most": MOST_SNAPSHOTS, "keys": list(hashes)}
            cursor.execute(_ENTRIES, asked)
            entries = cursor.fetchall()
    blobs, references = {}, {}
    for key, workflow_id, content_hash, blob, draft_hash, draft_blob in entries:
        references[workflow_id] = key
        found, name = (draft_hash, draft_blob) if drafts else (content_hash, blob)
        if name and found and found == hashes[key]:
            blobs[key] = name
    return Approved(blobs, references, environment.canonical_branch)
