"""The database's part in support sessions: what a session may never escape is decided here.

``opsconsole_support_session`` reads a session and says whether it still stands; it is the one query that a session
adds to a request. ``opsconsole_hold_support_session`` is called by every writing transaction of a session: it takes a
shared lock that the end of the session must wait for, so that an end comes after each write in flight and before
every later one. An advisory lock and not the row's own: its queue is fair, so that a busy session cannot put off its
end, and holding it writes nothing. The triggers see to it that an UPDATE by hand ends a session as well as the console.
"""

from __future__ import annotations

LOCK = "hashtextextended('support-session ' || {}::text, 0)"

#: Why a session no longer stands, in the order in which the reasons are looked for; NULL: it stands.
WHY_OVER = """
CASE
    WHEN s.ended_at IS NOT NULL THEN 'ended'
    WHEN s.expires_at <= clock_timestamp() THEN 'expired'
    WHEN s.last_seen_at + make_interval(secs => s.idle_seconds) <= clock_timestamp() THEN 'idle'
    WHEN NOT a.is_active THEN 'deactivated'
    WHEN a.role <> 'support' AND NOT EXISTS (SELECT 1 FROM public.platform_admins p WHERE p.user_id = a.id)
        THEN 'demoted'
    WHEN s.sign_in <> '' AND NOT EXISTS (
        SELECT 1 FROM public.user_sessions u WHERE u.user_id = a.id AND u.expire_date > clock_timestamp()
        AND u.session_key = s.sign_in) THEN 'signed out'
    WHEN s.api_token_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM public.api_tokens k WHERE k.id = s.api_token_id AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())) THEN 'token revoked'
    WHEN t.status <> 'active' THEN 'tenant suspended'
    WHEN NOT c.is_active OR c.is_service OR c.is_staff OR c.role <> 'member'
        OR EXISTS (SELECT 1 FROM public.platform_admins p WHERE p.user_id = c.id)
        OR NOT EXISTS (SELECT 1 FROM public.memberships m
                       WHERE m.user_id = c.id AND m.tenant_id = s.impersonated_tenant_id) THEN 'person changed'
END
"""

FROM = """
FROM public.platform_impersonation_sessions s
JOIN public.users a ON a.id = s.actor_user_id
JOIN public.users c ON c.id = s.impersonated_user_id
JOIN public.tenants t ON t.id = s.impersonated_tenant_id
"""

READ = f"""
CREATE FUNCTION opsconsole_support_session(
    wanted uuid, wanted_actor uuid, wanted_sign_in text, wanted_token uuid, seen_every_seconds integer)
RETURNS TABLE (id uuid, actor_user_id uuid, actor_email text, actor_name text, tenant_id uuid, tenant_slug text,
               tenant_name text, tenant_status text, user_id uuid, user_email text, user_name text, user_role text,
               mode text, reason text, ticket text, break_glass boolean, started_at timestamptz,
               expires_at timestamptz, why_over text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    RETURN QUERY
    SELECT s.id, a.id, a.email::text, a.name::text, t.id, t.slug::text, t.name::text, t.status::text, c.id,
           c.email::text, c.name::text, c.role::text, s.mode::text, s.reason, s.ticket::text, s.break_glass,
           s.started_at, s.expires_at, {WHY_OVER}
    {FROM}
    WHERE s.actor_user_id = wanted_actor
      AND ((wanted IS NOT NULL AND s.id = wanted AND s.sign_in = wanted_sign_in)
           OR (wanted_token IS NOT NULL AND s.api_token_id = wanted_token AND s.ended_at IS NULL));
    IF seen_every_seconds >= 0 THEN
        UPDATE public.platform_impersonation_sessions s SET last_seen_at = clock_timestamp()
        WHERE s.actor_user_id = wanted_actor AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
          AND (s.id = wanted AND s.sign_in = wanted_sign_in OR s.api_token_id = wanted_token)
          AND s.last_seen_at + make_interval(secs => s.idle_seconds) > clock_timestamp()
          AND s.last_seen_at + make_interval(secs => seen_every_seconds) < clock_timestamp();
    END IF;
END
$body$
"""  # noqa: S608 -- constants of this module

HOLD = f"""
CREATE FUNCTION opsconsole_hold_support_session(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({LOCK.format("wanted")});
    -- A statement of its own, so that it sees what was committed while the lock was waited for.
    RETURN EXISTS (SELECT 1 {FROM} WHERE s.id = wanted AND s.mode = 'WRITE' AND ({WHY_OVER}) IS NULL);
END
$body$
"""

#: Whether a session stands, in whichever mode: asked by streams and by jobs.
STANDS = f"""
CREATE FUNCTION opsconsole_support_session_stands(wanted uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $body$
    SELECT EXISTS (SELECT 1 {FROM} WHERE s.id = wanted AND ({WHY_OVER}) IS NULL)
$body$
"""

BEFORE_END = f"""
CREATE FUNCTION opsconsole_support_session_before() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    IF OLD.ended_at IS NOT NULL AND NEW.ended_at IS NULL THEN
        RAISE EXCEPTION 'a support session that has ended stays ended' USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) OR (OLD.mode = 'WRITE' AND NEW.mode <> 'WRITE')
       OR NEW.expires_at < OLD.expires_at THEN
        PERFORM pg_advisory_xact_lock({LOCK.format("OLD.id")});
    END IF;
    IF OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason = '' THEN
        NEW.end_reason := 'ended in the database by ' || session_user;
    END IF;
    RETURN NEW;
END
$body$
"""

#: What a session has asked for ends with it: what waits at once, what runs at its next boundary.
AFTER_END = """
CREATE FUNCTION opsconsole_support_session_after() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    UPDATE public.background_jobs
       SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
           status = CASE WHEN status = 'PENDING' AND attempt = 0 THEN 'CANCELLED' ELSE status END,
           ended_at = CASE WHEN status = 'PENDING' AND attempt = 0 THEN clock_timestamp() ELSE ended_at END,
           run_after = NULL,
           error_code = 'IMP_007',
           error_message = 'The support session that asked for this has ended.',
           updated_at = clock_timestamp()
     WHERE context->>'session_id' = NEW.id::text AND status IN ('PENDING', 'RETRY_PENDING', 'RUNNING');
    RETURN NULL;
END
$body$
"""

#: Whoever took a password may have started the session, too: it ends with the old one, a token's session as well.
CREDENTIAL_IS_NEW = """
CREATE FUNCTION opsconsole_password_is_new() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    UPDATE public.platform_impersonation_sessions SET ended_at = clock_timestamp(), end_reason = 'password changed'
     WHERE actor_user_id = NEW.id AND ended_at IS NULL;
    RETURN NULL;
END
$body$
"""

ROLES = "opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_platform_readonly"

FORWARD = [
    READ,
    HOLD,
    STANDS,
    BEFORE_END,
    AFTER_END,
    *[
        f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        for name in (
            "opsconsole_support_session",
            "opsconsole_hold_support_session",
            "opsconsole_support_session_stands",
            "opsconsole_support_session_before",
            "opsconsole_support_session_after",
        )
    ],
    f"GRANT EXECUTE ON FUNCTION opsconsole_support_session, opsconsole_hold_support_session,"
    f" opsconsole_support_session_stands TO {ROLES}",
    "CREATE TRIGGER ends BEFORE UPDATE ON platform_impersonation_sessions"
    " FOR EACH ROW EXECUTE FUNCTION opsconsole_support_session_before()",
    "CREATE TRIGGER ended AFTER UPDATE OF ended_at ON platform_impersonation_sessions FOR EACH ROW"
    " WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION opsconsole_support_session_after()",
    "CREATE INDEX background_jobs_support ON background_jobs ((context->>'session_id'))"
    " WHERE context ? 'session_id' AND status IN ('PENDING', 'RETRY_PENDING', 'RUNNING')",
]
BACKWARD = [
    "DROP INDEX background_jobs_support",
    "DROP TRIGGER ended ON platform_impersonation_sessions",
    "DROP TRIGGER ends ON platform_impersonation_sessions",
    "DROP FUNCTION opsconsole_support_session_after, opsconsole_support_session_before",
    "DROP FUNCTION opsconsole_support_session_stands, opsconsole_hold_support_session, opsconsole_support_session",
]
