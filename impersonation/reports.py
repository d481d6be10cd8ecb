"""Reports of support sessions."""

# ruff: noqa: S608 -- put together from constants; what a person enters is a parameter

from __future__ import annotations

from core.reports import IN_PERIOD, Column, Report, of_person, of_tenant

_SESSIONS = f"""
    FROM platform_impersonation_sessions pis
    JOIN users au ON pis.actor_user_id = au.id
    JOIN users iu ON pis.impersonated_user_id = iu.id
    JOIN tenants t ON pis.impersonated_tenant_id = t.id
    WHERE {IN_PERIOD.format("pis.started_at")} AND pis.started_at <= %(as_of)s
      AND {of_tenant("pis.impersonated_tenant_id")}
      AND {of_person("pis.actor_user_id", "pis.impersonated_user_id")}
"""
_ENDED = "CASE WHEN pis.ended_at <= %(as_of)s THEN pis.ended_at END"
#: Whether a session had write mode, also where it has gone back to reading since.
_WROTE = """(pis.mode = 'WRITE' OR EXISTS (
           SELECT FROM support_requests r
            WHERE r.session_id = pis.id AND r.kind = 'WRITE' AND r.used_at <= %(as_of)s))"""
_SECONDS = f"EXTRACT(EPOCH FROM (COALESCE({_ENDED}, %(as_of)s) - pis.started_at))"

SESSIONS = Report(
    name="impersonation-sessions",
    position=10,
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

ACTOR_SUMMARY = Report(
    name="actor-summary",
    position=20,
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
