"""Row-level security."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("drift", "0001_initial"), ("workflows", "0002_privileges")]

    operations = [
        protect("drift_incidents", parents={"workflow_env_map_id": "workflow_env_map"}),
        protect("drift_policies"),
        protect("drift_schedulers"),
    ]
