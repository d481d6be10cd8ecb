"""What ran when: n8n's list does not name the version that ran, so it is derived from what captures saw live.

Certain is only what two captures have in common: a version counts from the first that saw it until the last that saw
it unchanged. In between the version is *unknown*. n8n's own time of the last change is no help:
measured on 2.41.1, publishing a draft does not move it, and ``activeVersion.createdAt`` is when the version was saved.
"""

# ruff: noqa: S608 -- queries are put together from this module's constants

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from workflows.models import Environment

#: What is in the environment now, as far as captured: one row for each workflow.
_PLACES = """
SELECT env_workflow_id, env_content_hash, coalesce(live_version->>'version_id', env_version_id) AS env_version_id
  FROM workflow_env_map
 WHERE environment_id = %(environment)s AND status IN ('linked', 'unmapped') AND env_workflow_id <> ''
   AND env_content_hash IS NOT NULL
"""
_CLOSE = f"""
UPDATE workflow_live_versions v SET live_until = greatest(v.live_from, %(noted)s)
 WHERE v.environment_id = %(environment)s AND v.live_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM ({_PLACES}) p
                    WHERE p.env_workflow_id = v.env_workflow_id AND p.env_content_hash = v.content_hash)
"""
_OPEN = f"""
INSERT INTO workflow_live_versions (
    id, tenant_id, environment_id, env_workflow_id, content_hash, version_id, live_from)
SELECT gen_random_uuid(), %(tenant)s, %(environment)s, p.env_workflow_id, p.env_content_hash, p.env_version_id,
       %(captured)s
  FROM ({_PLACES}) p
ON CONFLICT (environment_id, env_workflow_id) WHERE live_until IS NULL DO UPDATE SET version_id = excluded.version_id
 WHERE workflow_live_versions.version_id <> excluded.version_id
"""


def note(environment: Environment, *, noted_at: datetime | None) -> datetime | None:
    """Bring the history in line with the latest capture; the capture's moment. Needs the tenant's scope.

    ``noted_at`` is what the last call returned: until then what was noted as live was seen so.
    """
    captured = Environment.objects.filter(pk=environment.pk).values_list("last_captured_at", flat=True).first()
    if captured is None or captured == noted_at:
        return noted_at
    values: dict[str, Any] = {
        "tenant": environment.tenant_id,
        "environment": environment.pk,
        "captured": captured,
        "noted": noted_at or captured,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE, values)
        cursor.execute(_OPEN, values)
    return captured
