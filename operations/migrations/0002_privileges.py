"""Row-level security; the trail sees an operation's states but not its heartbeats; the runbooks' names as views."""

from django.db import migrations

from tenants.rls import protect

VIEWS = [
    # Multi-step work, as the orchestration runbook calls it. Simple columns only, so that its UPDATEs work on the view.
    "CREATE VIEW saga_executions WITH (security_invoker = true) AS"
    " SELECT id, id AS saga_id, tenant_id, kind AS saga_name, status, error_message, attempt AS retry_count,"
    " idempotency_key AS correlation_id, created_at, started_at, ended_at, updated_at FROM background_jobs",
    "CREATE VIEW idempotent_operations WITH (security_invoker = true) AS"
    " SELECT id, tenant_id, idempotency_key AS operation_key, kind, request_hash, result, created_at"
    " FROM background_jobs WHERE idempotency_key IS NOT NULL",
]
ROLES = "opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_operator"


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_initial"), ("tenants", "0002_privileges")]

    operations = [
        protect("background_jobs", watch=("status", "cancel_requested_at")),
        protect("operation_steps", parents={"operation_id": "background_jobs"}, trail=False),
        protect("schedules"),
        migrations.RunSQL(VIEWS, ["DROP VIEW saga_executions", "DROP VIEW idempotent_operations"]),
        migrations.RunSQL(
            [
                f"GRANT SELECT ON saga_executions, idempotent_operations TO {ROLES}",
                "GRANT UPDATE ON saga_executions TO opsconsole_operator",
            ],
            migrations.RunSQL.noop,
        ),
    ]
