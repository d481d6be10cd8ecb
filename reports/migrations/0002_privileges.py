"""Row-level security for reports; those of the platform have no tenant and are seen by the platform alone."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("reports", "0001_initial"), ("tenants", "0002_privileges"), ("impersonation", "0002_privileges")]

    operations = [
        protect("report_schedules", nullable=True),
        protect(
            "report_runs",
            parents={"schedule_id": "report_schedules"},
            nullable=True,
            watch=("status", "mail_status", "file_name"),
        ),
    ]
