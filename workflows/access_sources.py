"""In which ways people hold access to environments, for the access review."""

from __future__ import annotations

from core.reports import AccessSource

ENVIRONMENT_GRANTS = AccessSource(
    position=3,
    grant_table="environment_grants",
    sql="""
    SELECT 'grant on an environment', g.user_id, g.tenant_id, n.name::text, p.codename::text,
           entry.created_at, entry.actor_user_id, entry.source, NULL::timestamptz, NULL::timestamptz, g.id::text
      FROM environment_grants g JOIN auth_permission p ON p.id = g.permission_id
      JOIN environments n ON n.id = g.content_object_id
      LEFT JOIN given entry ON entry.resource_type = 'environment_grants' AND entry.object_pk = g.id::text
""",
)
