"""Row-level security."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("promotions", "0001_initial"), ("workflows", "0002_privileges")]

    operations = [
        protect(
            "promotions",
            parents={"source_environment_id": "environments", "target_environment_id": "environments"},
        ),
    ]
