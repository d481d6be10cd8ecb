"""Credentials by id: mappings per source id, what the instance's own list told, and what lies around workflows."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

from tenants.rls import protect

#: Of several names under one id, the mapping that was entered last counts.
ONE_PER_ID = """
DELETE FROM credential_mappings older USING credential_mappings newer
WHERE older.source_credential_id <> '' AND older.source_credential_id = newer.source_credential_id
  AND older.source_environment_id = newer.source_environment_id
  AND older.target_environment_id = newer.target_environment_id
  AND older.credential_type = newer.credential_type
  AND (older.updated_at, older.id) < (newer.updated_at, newer.id)
"""


class Migration(migrations.Migration):
    dependencies = [("workflows", "0006_executions"), ("tenants", "0002_privileges")]

    operations = [
        migrations.RunSQL(ONE_PER_ID, migrations.RunSQL.noop),
        migrations.RemoveConstraint("credentialmapping", "credential_mappings_once"),
        migrations.AddConstraint(
            "credentialmapping",
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_credential_id"],
                condition=~Q(source_credential_id=""),
                name="credential_mappings_once",
            ),
        ),
        migrations.AddConstraint(
            "credentialmapping",
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_name"],
                condition=Q(source_credential_id=""),
                name="credential_mappings_by_name",
            ),
        ),
        migrations.AddField(
            "knowncredential",
            "also_named",
            django.contrib.postgres.fields.ArrayField(models.CharField(max_length=200), blank=True, default=list),
        ),
        migrations.AddField("knowncredential", "is_gone", models.BooleanField(default=False)),
        migrations.AddField("knowncredential", "needs_secret", models.BooleanField(default=False)),
        migrations.AddField(
            "knowncredential",
            "test_state",
            models.CharField(blank=True, help_text="proven, untestable, failing, or not tested", max_length=16),
        ),
        migrations.AddField("knowncredential", "test_message", models.CharField(blank=True, max_length=300)),
        migrations.AddField("knowncredential", "tested_at", models.DateTimeField(blank=True, null=True)),
        migrations.CreateModel(
            name="EnvironmentSurroundings",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("seen", models.JSONField(default=dict)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="surroundings",
                        to="workflows.environment",
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
            options={"db_table": "environment_surroundings"},
        ),
        protect("environment_surroundings", parents={"environment_id": "environments"}, trail=False),
    ]
