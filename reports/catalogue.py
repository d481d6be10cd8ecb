"""The reports. Each is one query; ``definitions`` says which parameters it gets.

Every query ends in an order that leaves nothing to chance, so that the same question gives the same bytes.
"""

from __future__ import annotations

from .definitions import Column, Report, register

TENANT_ID = "(SELECT id FROM tenants WHERE slug = %(tenant)s)"
PERSON_ID = "(SELECT id FROM users WHERE lower(email) = lower(%(person)s))"
IN_PERIOD = "{0} >= %(since)s AND {0} < %(until)s"


def _of_tenant(column: str) -> str:
    return f"(%(tenant)s::text = '' OR {column} = {TENANT_ID})"


def _of_person(*columns: str) -> str:
    said = " OR ".join(f"{column} = {PERSON_ID}" for column in columns)
    return f"(%(person)s::text = '' OR {said})"


_SESSIONS = f"""
    FROM platform_impersonation_sessions pis
    JOIN users au ON pis.actor_user_id = au.id
    JOIN users iu ON pis.impersonated_user_id = iu.id
    JOIN tenants t ON pis.impersonated_tenant_id = t.id
    WHERE {IN_PERIOD.format("pis.started_at")} AND pis.started_at <= %(as_of)s
      AND {_of_tenant("pis.impersonated_tenant_id")}
      AND {_of_person("pis.actor_user_id", "pis.impersonated_user_id")}
"""
_ENDED = "CASE WHEN pis.ended_at <= %(as_of)s THEN pis.ended_at END"
#: Whether a session had write mode, also where it has gone back to reading since.
_WROTE = """(pis.mode = 'WRITE' OR EXISTS (
           SELECT FROM support_requests r
            WHERE r.session_id = pis.id AND r.kind = 'WRITE' AND r.used_at <= %(as_of)s))"""
_SECONDS = f"EXTRACT(EPOCH FROM (COALESCE({_ENDED}, %(as_of)s) - pis.started_at))"

register(
    Report(
        name="impersonation-sessions",
        title="Support sessions",
        answers="Who worked in a customer's place, as whom, when, why, who agreed, and how much they did there.",
        columns=(
            # As the runbook's own export has them, and in its order; the rest comes after.
            Column("session_id", "Session"),
            Column("actor_email", "Who"),
            Column("actor_name", "Name"),
            Column("impersonated_email", "As whom"),
            Column("impersonated_name", "Name of whom"),
            Column("tenant_name", "Tenant"),
            Column("started_at", "Began", "time"),
            Column("ended_at", "Ended", "time"),
            Column("duration_minutes", "Minutes", "decimal"),
            Column("ip_address", "Address"),
            Column("user_agent", "Browser"),
            Column("write_operations_count", "Writes", "integer"),
            Column("tenant_slug", "Tenant (short)"),
            Column("mode", "Mode"),
            Column("ticket", "Ticket"),
            Column("reason", "Reason"),
            Column("break_glass", "Break-glass", "boolean"),
            Column("approved_by", "Agreed to by"),
            Column("ended_by", "Ended by"),
            Column("end_reason", "Why it ended"),
            Column("expires_at", "Limit", "time"),
            Column("reads", "Reads", "integer"),
            # What the runbook's count comes to, and its two parts.
            Column("writes", "Writes of the session", "integer"),
            Column("refusals", "Refusals", "integer"),
            Column("write_requests", "Requests that asked to write", "integer"),
            Column("rows_written", "Rows written", "integer"),
        ),
        sql=f"""
    SELECT pis.id::text AS session_id, au.email AS actor_email, au.name AS actor_name,
           iu.email AS impersonated_email, iu.name AS impersonated_name, t.name AS tenant_name,
           pis.started_at, {_ENDED} AS ended_at, {_SECONDS}/60 AS duration_minutes,
           host(pis.ip_address) AS ip_address, pis.user_agent,
           (SELECT count(*) FROM audit_logs al
             WHERE al.actor_user_id = pis.actor_user_id AND al.impersonated_user_id = pis.impersonated_user_id
               AND al.created_at BETWEEN pis.started_at AND COALESCE({_ENDED}, %(as_of)s)
               AND al.action IN ('CREATE', 'UPDATE', 'DELETE')) AS write_operations_count,
           t.slug AS tenant_slug, CASE WHEN {_WROTE} THEN 'WRITE' ELSE pis.mode END AS mode, pis.ticket, pis.reason,
           pis.break_glass,
           (SELECT string_agg(d.email || ' (' || lower(r.kind) || ')', ', ' ORDER BY r.decided_at, r.id)
              FROM support_requests r JOIN users d ON d.id = r.decided_by_id
             WHERE r.session_id = pis.id AND r.approved) AS approved_by,
           CASE WHEN pis.ended_at <= %(as_of)s THEN eu.email END AS ended_by,
           CASE WHEN pis.ended_at <= %(as_of)s THEN pis.end_reason END AS end_reason, pis.expires_at,
           done.reads, done.write_requests + done.rows_written AS writes, done.refusals,
           done.write_requests, done.rows_written
      FROM (SELECT pis.* {_SESSIONS}) pis
      JOIN users au ON pis.actor_user_id = au.id
      JOIN users iu ON pis.impersonated_user_id = iu.id
      JOIN tenants t ON pis.impersonated_tenant_id = t.id
      LEFT JOIN users eu ON eu.id = pis.ended_by_id
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE e.action = 'READ') AS reads,
                  count(*) FILTER (WHERE e.action IN ('CREATE', 'UPDATE', 'DELETE')
                                     AND e.resource_type = 'requests') AS write_requests,
                  count(*) FILTER (WHERE e.action IN ('CREATE', 'UPDATE', 'DELETE')
                                     AND e.resource_type <> 'requests') AS rows_written,
                  count(*) FILTER (WHERE e.action IN ('REFUSED', 'IMPERSONATION_BLOCKED')) AS refusals
             FROM audit_logs e WHERE e.session_id = pis.id AND e.created_at <= %(as_of)s) AS done
     ORDER BY pis.started_at DESC, pis.id
""",
    )
)

register(
    Report(
        name="actor-summary",
        title="Summary per actor",
        answers="How often and how long each member of staff worked in customers' places, and in how many.",
        columns=(
            Column("actor", "Who"),
            Column("total_sessions", "Sessions", "integer"),
            Column("tenants_accessed", "Tenants", "integer"),
            Column("total_hours", "Hours", "decimal"),
            Column("last_session", "Last session", "time"),
            Column("actor_name", "Name"),
            Column("people_impersonated", "People", "integer"),
            Column("write_sessions", "Sessions that might write", "integer"),
            Column("break_glass_sessions", "Break-glass", "integer"),
            Column("longest_minutes", "Longest, minutes", "decimal"),
        ),
        sql=f"""
    SELECT au.email AS actor, count(DISTINCT pis.id) AS total_sessions,
           count(DISTINCT pis.impersonated_tenant_id) AS tenants_accessed, sum({_SECONDS}/3600) AS total_hours,
           max(pis.started_at) AS last_session, au.name AS actor_name,
           count(DISTINCT pis.impersonated_user_id) AS people_impersonated,
           count(*) FILTER (WHERE {_WROTE}) AS write_sessions,
           count(*) FILTER (WHERE pis.break_glass) AS break_glass_sessions,
           max({_SECONDS}/60) AS longest_minutes
    {_SESSIONS}
     GROUP BY au.email, au.name
     ORDER BY total_sessions DESC, au.email
""",
    )
)

_LAST_IN_TENANT = (
    "(SELECT max(e.created_at) FROM audit_logs e WHERE e.actor_user_id = {user} AND e.tenant_id = {tenant}"
    " AND e.created_at <= %(as_of)s)"
)
#: Who gave a grant that has no id of the trail's kind (guardian numbers its rows): the last time it was made.
_GIVEN = """
    given AS (
        SELECT DISTINCT ON (e.resource_type, e.object_pk)
               e.resource_type, e.object_pk, e.created_at, e.actor_user_id, e.source
          FROM audit_logs e
         WHERE e.resource_type IN ('tenant_grants', 'environment_grants') AND e.action = 'CREATE'
         ORDER BY e.resource_type, e.object_pk, e.created_at DESC, e.id DESC)
"""

register(
    Report(
        name="access-review",
        title="Access review",
        answers="Who may do what where today: roles, grants, tokens, platform roles; who gave it, when, and when it"
        " was last used.",
        has_period=False,
        note="In a tenant's review, people of the platform are left out: they stand in the platform's review.",
        columns=(
            Column("person_email", "Who"),
            Column("person_name", "Name"),
            Column("account", "Account"),
            Column("active", "Active", "boolean"),
            Column("second_factor", "Second factor", "boolean"),
            Column("tenant", "Tenant"),
            Column("access", "Kind of access"),
            Column("role", "Role or object"),
            Column("grants", "May"),
            Column("granted_at", "Given", "time"),
            Column("granted_by", "Given by"),
            Column("granted_how", "Given through"),
            Column("last_sign_in", "Last sign-in", "time"),
            Column("last_used", "Last used", "time"),
            Column("expires_at", "Expires", "time"),
        ),
        sql=f"""
    WITH {_GIVEN},
    member AS (
        SELECT 1 AS place, 'member' AS access, m.user_id, m.tenant_id, m.role::text AS role,
               (SELECT string_agg(p.codename, ' ' ORDER BY p.codename) FROM tenant_grants g
                  JOIN auth_permission p ON p.id = g.permission_id
                 WHERE g.user_id = m.user_id AND g.content_object_id = m.tenant_id) AS grants,
               coalesce(said.created_at, m.created_at) AS granted_at,
               coalesce(said.actor_user_id, m.created_by_id) AS granted_by_id, said.source AS granted_how,
               {_LAST_IN_TENANT.format(user="m.user_id", tenant="m.tenant_id")} AS last_used,
               NULL::timestamptz AS expires_at, m.id::text AS tie
          FROM memberships m
          LEFT JOIN LATERAL (
               SELECT e.created_at, e.actor_user_id, e.source FROM audit_logs e
                WHERE e.resource_id = m.id AND e.resource_type = 'memberships' AND e.action IN ('CREATE', 'UPDATE')
                  AND e.details->'new_value' ? 'role'
                ORDER BY e.created_at DESC, e.id DESC LIMIT 1) said ON true),
    direct AS (
        SELECT 2, 'grant without role', g.user_id, g.content_object_id, '', p.codename::text, said.created_at,
               said.actor_user_id, said.source, NULL::timestamptz, NULL::timestamptz, g.id::text
          FROM tenant_grants g JOIN auth_permission p ON p.id = g.permission_id
          LEFT JOIN given said ON said.resource_type = 'tenant_grants' AND said.object_pk = g.id::text
         WHERE NOT EXISTS (SELECT FROM memberships m
                            WHERE m.user_id = g.user_id AND m.tenant_id = g.content_object_id)),
    environment AS (
        SELECT 3, 'grant on an environment', g.user_id, g.tenant_id, n.name::text, p.codename::text,
               said.created_at, said.actor_user_id, said.source, NULL::timestamptz, NULL::timestamptz, g.id::text
          FROM environment_grants g JOIN auth_permission p ON p.id = g.permission_id
          JOIN environments n ON n.id = g.content_object_id
          LEFT JOIN given said ON said.resource_type = 'environment_grants' AND said.object_pk = g.id::text),
    token AS (
        SELECT 4, CASE WHEN k.tenant_id IS NULL THEN 'API token for all tenants' ELSE 'API token' END, k.user_id,
               coalesce(k.tenant_id, m.tenant_id), k.name || ' (' || k.prefix || '…)',
               coalesce(nullif(array_to_string(k.permissions, ' '), ''), 'all that the account may'),
               k.created_at, k.created_by_id, said.source, k.last_used_at, k.expires_at, k.id::text
          FROM api_tokens k
          LEFT JOIN memberships m ON k.tenant_id IS NULL AND m.user_id = k.user_id
          LEFT JOIN LATERAL (SELECT e.source FROM audit_logs e
                              WHERE e.resource_id = k.id AND e.action = 'CREATE' LIMIT 1) said ON true
         WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > %(as_of)s)),
    staff AS (
        SELECT 5, 'platform admin', a.user_id, NULL::uuid, 'every tenant',
               'view_tenant view_trail manage_members, people and tenants', a.created_at, a.created_by_id, said.source,
               NULL::timestamptz, NULL::timestamptz, a.user_id::text
          FROM platform_admins a
          LEFT JOIN LATERAL (SELECT e.source FROM audit_logs e
                              WHERE e.resource_id = a.user_id AND e.resource_type = 'platform_admins'
                                AND e.action = 'CREATE' ORDER BY e.created_at DESC, e.id DESC LIMIT 1) said ON true
         WHERE %(platform)s
         UNION ALL
        SELECT 6, 'platform role', u.id, NULL::uuid, u.role,
               CASE u.role WHEN 'support' THEN 'support sessions' ELSE 'view_tenant view_trail of every tenant' END,
               coalesce(said.created_at, u.created_at), said.actor_user_id, said.source,
               NULL::timestamptz, NULL::timestamptz, u.id::text
          FROM users u
          LEFT JOIN LATERAL (
               SELECT e.created_at, e.actor_user_id, e.source FROM audit_logs e
                WHERE e.resource_id = u.id AND e.resource_type = 'users' AND e.action IN ('CREATE', 'UPDATE')
                  AND e.details->'new_value' ? 'role'
                ORDER BY e.created_at DESC, e.id DESC LIMIT 1) said ON true
         WHERE %(platform)s AND u.role <> 'member'),
    every AS (SELECT * FROM member UNION ALL SELECT * FROM direct UNION ALL SELECT * FROM environment
              UNION ALL SELECT * FROM token UNION ALL SELECT * FROM staff)
    SELECT u.email AS person_email, u.name AS person_name,
           CASE WHEN u.is_service THEN 'service account' ELSE 'person' END AS account, u.is_active AS active,
           EXISTS (SELECT FROM mfa_authenticator f WHERE f.user_id = u.id) AS second_factor, t.slug AS tenant,
           every.access, every.role, every.grants, every.granted_at, b.email AS granted_by, every.granted_how,
           u.last_login AS last_sign_in, every.last_used, every.expires_at
      FROM every
      JOIN users u ON u.id = every.user_id
      LEFT JOIN tenants t ON t.id = every.tenant_id
      LEFT JOIN users b ON b.id = every.granted_by_id
     WHERE (%(tenant)s::text = '' OR t.slug = %(tenant)s)
       AND (%(person)s::text = '' OR lower(u.email) = lower(%(person)s))
     ORDER BY u.email, t.slug NULLS FIRST, every.place, every.role, every.grants, every.tie
""",
    )
)

#: What may change who gets in, or what guards the rest.
_GUARDED = (
    "memberships", "tenant_grants", "environment_grants", "api_tokens", "platform_admins", "support_policies",
    "support_opt_outs", "drift_policies", "legal_holds", "tenants", "report_schedules",
    "user_sessions",
)  # fmt: skip
_GUARDED_COLUMNS = {
    "users": ("role", "is_active", "is_staff", "is_superuser", "is_service", "password", "email"),
    "environments": ("api_key_encrypted", "base_url", "kind", "is_archived"),
}
_GUARDED_EVENTS = (
    "PASSWORD_CHANGED", "SIGN_IN_LINK_SHOWN", "SECOND_FACTOR_ADDED", "SECOND_FACTOR_REMOVED", "SIGN_INS_ENDED",
    "TENANT_EMERGENCY", "IMPERSONATION_APPROVED", "IMPERSONATION_BREAK_GLASS",
)  # fmt: skip
#: Tries that were turned away.
REFUSALS = (
    "IMPERSONATION_BLOCKED", "IMPERSONATION_DECLINED", "IMPERSONATION_ALERT", "REFUSED", "SIGN_IN_FAILED",
    "SECOND_FACTOR_FAILED", "TOKEN_TRIES_REFUSED",
)  # fmt: skip


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_WATCHED = " OR ".join(
    f"(al.resource_type = '{table}' AND (al.action IN ('CREATE', 'DELETE')"
    f" OR al.details->'new_value' ?| ARRAY[{_listed(columns)}]))"
    for table, columns in _GUARDED_COLUMNS.items()
)
_ABOUT = "coalesce(al.details->'new_value'->>'user_id', al.details->'previous_value'->>'user_id')::uuid"

register(
    Report(
        name="privileged-changes",
        title="Privileged changes",
        answers="Every change of roles, grants, members, tokens, keys, policies and platform admins, with before and"
        " after.",
        columns=(
            Column("at", "When", "time"),
            Column("entry_id", "Entry", "integer"),
            Column("actor_email", "Who"),
            Column("acting_as_email", "As whom"),
            Column("tenant", "Tenant"),
            Column("action", "What"),
            Column("object_kind", "To what kind"),
            Column("object", "To what"),
            Column("about", "About whom"),
            Column("before", "Before"),
            Column("after", "After"),
            Column("source", "Through"),
            Column("ip_address", "Address"),
            Column("session_id", "Support session"),
            Column("request_id", "Request"),
            Column("database_role", "Database role"),
        ),
        sql=f"""
    SELECT al.created_at AS at, al.id AS entry_id, au.email AS actor_email, iu.email AS acting_as_email,
           t.slug AS tenant, al.action, al.resource_type AS object_kind,
           coalesce(p.codename, nullif(al.object_repr, ''), al.object_pk) AS object,
           coalesce(su.email, mu.email, ou.email) AS about,
           (al.details->'previous_value')::text AS before,
           coalesce(al.details->'new_value',
                    CASE WHEN al.action NOT IN ('CREATE', 'UPDATE', 'DELETE') THEN al.details END)::text AS after,
           al.source, host(al.ip_address) AS ip_address, al.session_id::text AS session_id, al.request_id,
           al.database_role
      FROM audit_logs al
      LEFT JOIN users au ON au.id = al.actor_user_id
      LEFT JOIN users iu ON iu.id = al.impersonated_user_id
      LEFT JOIN tenants t ON t.id = al.tenant_id
      LEFT JOIN users su ON su.id = {_ABOUT}
      LEFT JOIN memberships m ON al.resource_type = 'memberships' AND m.id = al.resource_id
      LEFT JOIN users mu ON mu.id = m.user_id
      LEFT JOIN users ou ON al.resource_type IN ('users', 'platform_admins') AND ou.id = al.resource_id
      LEFT JOIN auth_permission p ON al.resource_type IN ('tenant_grants', 'environment_grants')
       AND p.id = (coalesce(al.details->'new_value', al.details->'previous_value')->>'permission_id')::integer
     WHERE {IN_PERIOD.format("al.created_at")}
       AND (al.resource_type IN ({_listed(_GUARDED)}) OR {_WATCHED} OR al.action IN ({_listed(_GUARDED_EVENTS)}))
       AND {_of_tenant("al.tenant_id")}
       AND {_of_person("al.actor_user_id", "al.impersonated_user_id", _ABOUT, "m.user_id", "ou.id")}
     ORDER BY al.created_at, al.id
""",
    )
)

register(
    Report(
        name="refused-attempts",
        title="Refused attempts",
        answers="What was tried and turned away: blocked and declined support sessions, refused requests inside them,"
        " failed sign-ins, tokens that were guessed.",
        note="Failed sign-ins belong to no tenant: they stand in the platform's report.",
        columns=(
            Column("at", "When", "time"),
            Column("entry_id", "Entry", "integer"),
            Column("action", "What"),
            Column("actor_email", "Who"),
            Column("acting_as_email", "As whom"),
            Column("tenant", "Tenant"),
            Column("target_email", "Aimed at"),
            Column("code", "Code"),
            Column("reason", "Why it was refused"),
            Column("path", "Address asked for"),
            Column("source", "Through"),
            Column("ip_address", "From"),
            Column("session_id", "Support session"),
            Column("request_id", "Request"),
        ),
        sql=f"""
    SELECT al.created_at AS at, al.id AS entry_id, al.action, au.email AS actor_email, iu.email AS acting_as_email,
           t.slug AS tenant, coalesce(tu.email, al.details->>'target_email') AS target_email,
           al.details->>'code' AS code, al.details->>'reason' AS reason,
           nullif(concat_ws(' ', al.details->>'method', al.details->>'path'), '') AS path, al.source,
           host(al.ip_address) AS ip_address, al.session_id::text AS session_id, al.request_id
      FROM audit_logs al
      LEFT JOIN users au ON au.id = al.actor_user_id
      LEFT JOIN users iu ON iu.id = al.impersonated_user_id
      LEFT JOIN users tu ON al.resource_type = 'users' AND tu.id = al.resource_id
      LEFT JOIN tenants t ON t.id = al.tenant_id
     WHERE {IN_PERIOD.format("al.created_at")} AND al.action IN ({_listed(REFUSALS)})
       AND {_of_tenant("al.tenant_id")}
       AND {_of_person("al.actor_user_id", "al.impersonated_user_id", "tu.id")}
     ORDER BY al.created_at, al.id
""",
    )
)
