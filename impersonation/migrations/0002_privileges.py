"""Row-level security, and the database's part in support sessions."""

from django.db import migrations

from impersonation.sql import BACKWARD, FORWARD
from tenants.rls import drop_trail_trigger, grant, protect, trail_trigger


class Migration(migrations.Migration):
    dependencies = [
        ("impersonation", "0001_initial"),
        ("tenants", "0002_privileges"),
        ("operations", "0002_privileges"),
    ]

    operations = [
        protect("platform_impersonation_sessions", tenant_column="impersonated_tenant_id"),
        protect("support_policies"),
        protect("support_requests"),
        grant("support_opt_outs"),
        migrations.RunSQL(trail_trigger("support_opt_outs", key="user_id"), drop_trail_trigger("support_opt_outs")),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
