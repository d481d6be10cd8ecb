# Which normalisation a manifest's hashes are of; rehearsals of upgrades

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("snapshots", "0002_privileges"),
        ("tenants", "0005_sign_ins_unread"),
        ("workflows", "0004_places_checked_once"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="snapshot",
            name="hash_version",
            field=models.SmallIntegerField(
                db_default=1, default=1, help_text="The normalisation of the hashes in the manifest."
            ),
        ),
        migrations.CreateModel(
            name="Rehearsal",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("version", models.CharField(max_length=32)),
                ("snapshot_id", models.UUIDField(blank=True, null=True)),
                ("operation_id", models.UUIDField(blank=True, null=True)),
                ("report", models.JSONField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rehearsals",
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
            options={
                "db_table": "n8n_rehearsals",
                "ordering": ["-created_at", "-id"],
                "indexes": [
                    models.Index(fields=["tenant", "-created_at", "-id"], name="n8n_rehearsals_tenant"),
                    models.Index(fields=["tenant", "environment", "-created_at"], name="n8n_rehearsals_env"),
                ],
            },
        ),
        # The job of each is in the trail; the report is derived, and long.
        protect("n8n_rehearsals", parents={"environment_id": "environments"}, trail=False),
    ]
