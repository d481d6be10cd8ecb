"""In which ways people hold access to tenants and to the platform, for the access review."""

from __future__ import annotations

from core.reports import AccessSource

MEMBERS = AccessSource(
    position=1,
    sql="""
    SELECT 'member' AS access, m.user_id, m.tenant_id, m.role::text AS role,
           (SELECT string_agg(p.codename, ' ' ORDER BY p.codename) FROM tenant_grants g
              JOIN auth_permission p ON p.id = g.permission_id
             WHERE g.user_id = m.user_id AND g.content_object_id = m.tenant_id) AS grants,
           coalesce(entry.created_at, m.created_at) AS granted_at,
           coalesce(entry.actor_user_id, m.created_by_id) AS granted_by_id, entry.source AS granted_how,
           (SELECT max(e.created_at) FROM audit_logs e
             WHERE e.actor_user_id = m.user_id AND e.tenant_id = m.tenant_id
               AND e.created_at <= %(as_of)s) AS last_used,
           NULL::timestamptz AS expires_at, m.id::text AS tie
      FROM memberships m
      LEFT JOIN LATERAL (
           SELECT e.created_at, e.actor_user_id, e.source FROM audit_logs e
            WHERE e.resource_id = m.id AND e.resource_type = 'memberships' AND e.action IN ('CREATE', 'UPDATE')
              AND e.details->'new_value' ? 'role'
            ORDER BY e.created_at DESC, e.id DESC LIMIT 1) entry ON true
""",
)

DIRECT_GRANTS = AccessSource(
    position=2,
    grant_table="tenant_grants",
    sql="""
    SELECT 'grant without role', g.user_id, g.content_object_id, '', p.codename::text, entry.created_at,
           entry.actor_user_id, entry.source, NULL::timestamptz, NULL::timestamptz, g.id::text
      FROM tenant_grants g JOIN auth_permission p ON p.id = g.permission_id
      LEFT JOIN given entry ON entry.resource_type = 'tenant_grants' AND entry.object_pk = g.id::text
     WHERE NOT EXISTS (SELECT FROM memberships m
                        WHERE m.user_id = g.user_id AND m.tenant_id = g.content_object_id)
""",
)

TOKENS = AccessSource(
    position=4,
    sql="""
    SELECT CASE WHEN k.tenant_id IS NULL THEN 'API token for all tenants' ELSE 'API token' END, k.user_id,
           coalesce(k.tenant_id, m.tenant_id), k.name || ' (' || k.prefix || '…)',
           coalesce(nullif(array_to_string(k.permissions, ' '), ''), 'all that the account may'),
           k.created_at, k.created_by_id, entry.source, k.last_used_at, k.expires_at, k.id::text
      FROM api_tokens k
      LEFT JOIN memberships m ON k.tenant_id IS NULL AND m.user_id = k.user_id
      LEFT JOIN LATERAL (SELECT e.source FROM audit_logs e
                          WHERE e.resource_id = k.id AND e.action = 'CREATE' LIMIT 1) entry ON true
     WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > %(as_of)s)
""",
)

PLATFORM_ADMINS = AccessSource(
    position=5,
    sql="""
    SELECT 'platform admin', a.user_id, NULL::uuid, 'every tenant',
           'view_tenant view_trail manage_members, people and tenants', a.created_at, a.created_by_id, entry.source,
           NULL::timestamptz, NULL::timestamptz, a.user_id::text
      FROM platform_admins a
      LEFT JOIN LATERAL (SELECT e.source FROM audit_logs e
                          WHERE e.resource_id = a.user_id AND e.resource_type = 'platform_admins'
                            AND e.action = 'CREATE' ORDER BY e.created_at DESC, e.id DESC LIMIT 1) entry ON true
     WHERE %(platform)s
""",
)

PLATFORM_ROLES = AccessSource(
    position=6,
    sql="""
    SELECT 'platform role', u.id, NULL::uuid, u.role,
           CASE u.role WHEN 'support' THEN 'support sessions' ELSE 'view_tenant view_trail of every tenant' END,
           coalesce(entry.created_at, u.created_at), entry.actor_user_id, entry.source,
           NULL::timestamptz, NULL::timestamptz, u.id::text
      FROM users u
      LEFT JOIN LATERAL (
           SELECT e.created_at, e.actor_user_id, e.source FROM audit_logs e
            WHERE e.resource_id = u.id AND e.resource_type = 'users' AND e.action IN ('CREATE', 'UPDATE')
              AND e.details->'new_value' ? 'role'
            ORDER BY e.created_at DESC, e.id DESC LIMIT 1) entry ON true
     WHERE %(platform)s AND u.role <> 'member'
""",
)

ACCESS_SOURCES = (MEMBERS, DIRECT_GRANTS, TOKENS, PLATFORM_ADMINS, PLATFORM_ROLES)
