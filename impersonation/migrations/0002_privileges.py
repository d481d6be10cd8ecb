"""Row-level security."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("impersonation", "0001_initial"), ("tenants", "0002_privileges")]

    operations = [
        protect("platform_impersonation_sessions", tenant_column="impersonated_tenant_id"),
    ]
