# What was seen of each environment's list at the last check

import uuid

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("drift", "0002_privileges"),
        ("tenants", "0002_privileges"),
        ("workflows", "0003_fingerprints"),
    ]

    operations = [
        migrations.CreateModel(
            name="DriftMemory",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("pages", models.JSONField(default=dict)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="workflows.environment"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "drift_memory",
                "indexes": [models.Index(fields=["tenant", "environment"], name="drift_memory_tenant")],
                "constraints": [models.UniqueConstraint(fields=("environment",), name="drift_memory_one")],
            },
        ),
        protect("drift_memory", parents={"environment_id": "environments"}, trail=False),
    ]
