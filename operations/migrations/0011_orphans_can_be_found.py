"""``idempotent_operations`` tells keys, jobs and effects by the saga that answers for them, or by none: an orphan.

The view that was there before named jobs alone, each by its own key, so that the runbook's query could find nothing.
An orphan's key is its own id: a request under ``Idempotency-Key`` that was never answered, and an effect of unknown
outcome whose job has ended or is gone.
"""

from typing import ClassVar

from django.db import migrations

SAGAS = (
    "CREATE OR REPLACE VIEW saga_executions WITH (security_invoker = true) AS "
    "SELECT id, id AS saga_id, tenant_id, kind AS saga_name, status, error_message,"
    " CASE WHEN status = 'RETRY_PENDING' THEN attempt ELSE greatest(attempt - 1, 0) END AS retry_count,"
    " {correlation_id} AS correlation_id, created_at, started_at, ended_at, updated_at FROM background_jobs"
)
# A job without a key of its own is known by its id, which the runbook's UPDATE must not make its key.
KEY = "coalesce(idempotency_key, id::text)::varchar(120)"
WRITE = """
CREATE OR REPLACE FUNCTION opsconsole_write_saga() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    UPDATE public.background_jobs
       SET status = NEW.status, error_message = NEW.error_message,
           idempotency_key = CASE WHEN NEW.correlation_id = OLD.correlation_id THEN idempotency_key
                                  ELSE NEW.correlation_id END,
           started_at = NEW.started_at, ended_at = NEW.ended_at, updated_at = NEW.updated_at,
           attempt = CASE WHEN NEW.retry_count = OLD.retry_count THEN attempt
                          WHEN NEW.status = 'RETRY_PENDING' THEN NEW.retry_count ELSE NEW.retry_count + 1 END
     WHERE id = OLD.id;
    RETURN CASE WHEN FOUND THEN NEW END;
END
$$
"""
BEFORE = (
    "CREATE VIEW idempotent_operations WITH (security_invoker = true) AS"
    " SELECT id, tenant_id, idempotency_key AS operation_key, kind, request_hash, result, created_at"
    " FROM background_jobs WHERE idempotency_key IS NOT NULL"
)
NOW = """
CREATE VIEW runbook.idempotent_operations WITH (security_invoker = true) AS
SELECT j.id::text AS id, j.tenant_id, coalesce(j.idempotency_key, j.id::text)::text AS operation_key,
       j.kind::text AS kind, j.request_hash::text AS request_hash, j.status::text AS status, j.result, j.created_at
  FROM background_jobs j
UNION ALL
SELECT s.id::text, s.tenant_id,
       CASE WHEN j.id IS NULL OR (s.state IN ('INTENT', 'UNKNOWN') AND j.status IN ('COMPLETED', 'FAILED', 'CANCELLED'))
            THEN s.id::text ELSE coalesce(j.idempotency_key, j.id::text) END,
       'effect ' || s.name, NULL, s.state, s.result, s.started_at
  FROM operation_steps s LEFT JOIN background_jobs j ON j.id = s.operation_id
 WHERE s.intent IS NOT NULL AND s.intent NOT IN ('{}'::jsonb, 'null'::jsonb)
UNION ALL
SELECT k.scope_key::text, NULL, k.scope_key::text, 'request', k.request_digest::text, 'NEVER_ANSWERED', NULL,
       k.claimed_at
  FROM api_idempotency_keys k WHERE k.status IS NULL AND k.claimed_at < now() - interval '5 minutes'
"""
ROLES = "opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_operator"
FORWARD = [
    SAGAS.format(correlation_id=KEY),
    WRITE,
    "DROP VIEW idempotent_operations",
    NOW,
    "GRANT SELECT ON runbook.idempotent_operations TO opsconsole_operator",
    # Not the answers: some hold a token.
    "GRANT SELECT (scope_key, request_digest, status, claimed_at, expires_at) ON api_idempotency_keys"
    " TO opsconsole_operator",
]
BACKWARD = [
    "REVOKE SELECT (scope_key, request_digest, status, claimed_at, expires_at) ON api_idempotency_keys"
    " FROM opsconsole_operator",
    "DROP VIEW runbook.idempotent_operations",
    BEFORE,
    f"GRANT SELECT ON idempotent_operations TO {ROLES}",
    SAGAS.format(correlation_id="idempotency_key"),
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0010_progress_of_a_phase"), ("tenants", "0007_sign_in_keys_hashed")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
