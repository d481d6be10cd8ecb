# Upgrades of n8n as events of their own

import uuid

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("drift", "0003_memory"),
        ("tenants", "0005_sign_ins_unread"),
        ("workflows", "0004_places_checked_once"),
    ]

    operations = [
        migrations.CreateModel(
            name="N8nUpgrade",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("from_mark", models.JSONField(default=dict)),
                ("to_mark", models.JSONField(default=dict)),
                ("from_version", models.CharField(max_length=48)),
                ("to_version", models.CharField(max_length=48)),
                ("before_snapshot_id", models.UUIDField(blank=True, null=True)),
                ("after_snapshot_id", models.UUIDField(blank=True, null=True)),
                ("last_seen_before_at", models.DateTimeField(blank=True, null=True)),
                ("noticed_at", models.DateTimeField()),
                ("changes", models.JSONField(default=list)),
                ("by_n8n", models.IntegerField(default=0)),
                ("by_people", models.IntegerField(default=0)),
                (
                    "operation_id",
                    models.UUIDField(blank=True, help_text="The job that approved what n8n changed.", null=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="upgrades", to="workflows.environment"
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
                "db_table": "n8n_upgrades",
                "ordering": ["-noticed_at", "-id"],
            },
        ),
        migrations.AddField(
            model_name="driftincident",
            name="upgrade",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="The upgrade of n8n that made this change, where n8n did.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="incidents",
                to="drift.n8nupgrade",
            ),
        ),
        migrations.CreateModel(
            name="N8nInstance",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("mark", models.JSONField(default=dict)),
                (
                    "snapshot_id",
                    models.UUIDField(blank=True, help_text="The last snapshot that was taken of this n8n.", null=True),
                ),
                ("seen_at", models.DateTimeField()),
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
                "db_table": "n8n_instances",
                "indexes": [models.Index(fields=["tenant", "environment"], name="n8n_instances_tenant")],
                "constraints": [models.UniqueConstraint(fields=("environment",), name="n8n_instances_one")],
            },
        ),
        migrations.AddIndex(
            model_name="n8nupgrade",
            index=models.Index(fields=["tenant", "-noticed_at"], name="n8n_upgrades_tenant"),
        ),
        migrations.AddIndex(
            model_name="n8nupgrade",
            index=models.Index(fields=["tenant", "environment", "-noticed_at"], name="n8n_upgrades_env"),
        ),
        migrations.AddConstraint(
            model_name="n8nupgrade",
            constraint=models.UniqueConstraint(
                condition=models.Q(("after_snapshot_id__isnull", False)),
                fields=("environment", "after_snapshot_id"),
                name="n8n_upgrades_once",
            ),
        ),
        protect("n8n_upgrades", parents={"environment_id": "environments"}),
        protect("n8n_instances", parents={"environment_id": "environments"}, trail=False),
        migrations.RunSQL(
            "ALTER TABLE drift_incidents ADD CONSTRAINT drift_incidents_upgrade_id_same_tenant"
            " FOREIGN KEY (tenant_id, upgrade_id) REFERENCES n8n_upgrades (tenant_id, id)"
            " DEFERRABLE INITIALLY DEFERRED",
            "ALTER TABLE drift_incidents DROP CONSTRAINT IF EXISTS drift_incidents_upgrade_id_same_tenant",
        ),
    ]
