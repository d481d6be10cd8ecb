"""``saga_executions.retry_count`` counts retries, not attempts: 0 while the first attempt runs.

One that waits for its retry counts it already, so that the runbook's ``retry_count + 1`` is what it reads afterwards.
"""

from typing import ClassVar

from django.db import migrations

COLUMNS = (
    "SELECT id, id AS saga_id, tenant_id, kind AS saga_name, status, error_message, {retry_count} AS retry_count,"
    " idempotency_key AS correlation_id, created_at, started_at, ended_at, updated_at FROM background_jobs"
)
RETRIES = "CASE WHEN status = 'RETRY_PENDING' THEN attempt ELSE greatest(attempt - 1, 0) END"
VIEW = "CREATE OR REPLACE VIEW saga_executions WITH (security_invoker = true) AS "

# A view with a computed column takes no UPDATE by itself. As its caller: row-level security and the trail see who.
WRITE = """
CREATE FUNCTION opsconsole_write_saga() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    UPDATE public.background_jobs
       SET status = NEW.status, error_message = NEW.error_message, idempotency_key = NEW.correlation_id,
           started_at = NEW.started_at, ended_at = NEW.ended_at, updated_at = NEW.updated_at,
           attempt = CASE WHEN NEW.retry_count = OLD.retry_count THEN attempt
                          WHEN NEW.status = 'RETRY_PENDING' THEN NEW.retry_count ELSE NEW.retry_count + 1 END
     WHERE id = OLD.id;
    RETURN CASE WHEN FOUND THEN NEW END;
END
$$
"""
TRIGGER = (
    "CREATE TRIGGER write_saga INSTEAD OF UPDATE ON saga_executions"
    " FOR EACH ROW EXECUTE FUNCTION opsconsole_write_saga()"
)
FORWARD = [VIEW + COLUMNS.format(retry_count=RETRIES), WRITE, TRIGGER]
BACKWARD = [
    "DROP TRIGGER write_saga ON saga_executions",
    "DROP FUNCTION opsconsole_write_saga()",
    VIEW + COLUMNS.format(retry_count="attempt"),
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0005_last_of_a_kind")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
