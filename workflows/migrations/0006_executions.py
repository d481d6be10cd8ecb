"""Executions as n8n numbers them, how far they are read, and what ran when."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0005_sign_ins_unread"),
        ("workflows", "0005_live_draft_archived"),
    ]

    operations = [
        # What n8n still has is read again; the rows before knew neither number nor time of sight.
        migrations.RunSQL("DELETE FROM executions", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="ExecutionFeed",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("newest", models.BigIntegerField(blank=True, null=True)),
                ("settled", models.BigIntegerField(blank=True, null=True)),
                ("gaps", models.JSONField(default=list)),
                (
                    "can_retry",
                    models.BooleanField(blank=True, help_text="Whether this n8n can retry executions.", null=True),
                ),
                ("trouble", models.JSONField(blank=True, null=True)),
                ("failures", models.IntegerField(default=0, help_text="Rounds in a row that failed.")),
                (
                    "read_at",
                    models.DateTimeField(blank=True, help_text="When a round last came to its end.", null=True),
                ),
                (
                    "versions_at",
                    models.DateTimeField(
                        blank=True, help_text="The capture whose versions were noted last.", null=True
                    ),
                ),
                ("next_at", models.DateTimeField()),
                ("fence", models.BigIntegerField(default=0)),
                ("leased_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "execution_feeds",
            },
        ),
        migrations.CreateModel(
            name="LiveSpan",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("env_workflow_id", models.CharField(max_length=64)),
                ("content_hash", models.CharField(max_length=64)),
                ("version_id", models.CharField(blank=True, max_length=64)),
                ("live_from", models.DateTimeField()),
                ("live_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "workflow_live_versions",
            },
        ),
        migrations.RemoveConstraint(
            model_name="execution",
            name="executions_once",
        ),
        migrations.RemoveIndex(
            model_name="execution",
            name="executions_env",
        ),
        migrations.RemoveIndex(
            model_name="execution",
            name="executions_started",
        ),
        migrations.AddField(
            model_name="execution",
            name="duration_ms",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="execution",
            name="number",
            field=models.BigIntegerField(default=None),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="execution",
            name="retry_of",
            field=models.BigIntegerField(
                blank=True, help_text="The number of the execution that it repeats.", null=True
            ),
        ),
        migrations.AddField(
            model_name="execution",
            name="seen_at",
            field=models.DateTimeField(default=None),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="execution",
            name="sorted_at",
            field=models.DateTimeField(default=None),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="execution",
            name="version_id",
            field=models.CharField(
                blank=True, help_text="Of the workflow that ran, where n8n tells it.", max_length=64
            ),
        ),
        migrations.AlterField(
            model_name="execution",
            name="canonical_workflow",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="workflows.canonicalworkflow",
            ),
        ),
        migrations.AlterField(
            model_name="execution",
            name="environment",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="workflows.environment",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(fields=["tenant", "environment", "-sorted_at", "-id"], name="executions_env"),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-sorted_at"],
                include=("status", "mode", "duration_ms"),
                name="executions_workflow",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("status__in", ["error", "crashed"])),
                fields=["environment", "-sorted_at", "-id"],
                name="executions_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("status__in", ["new", "running", "waiting"])),
                fields=["environment", "seen_at"],
                name="executions_open",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("retry_of__isnull", False)),
                fields=["environment", "retry_of"],
                name="executions_retries",
            ),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=models.Index(
                condition=models.Q(("canonical_workflow__isnull", True)),
                fields=["environment", "env_workflow_id"],
                name="executions_unlinked",
            ),
        ),
        migrations.AddConstraint(
            model_name="execution",
            constraint=models.UniqueConstraint(fields=("environment", "number"), name="executions_once"),
        ),
        migrations.AddField(
            model_name="executionfeed",
            name="environment",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="workflows.environment",
            ),
        ),
        migrations.AddField(
            model_name="executionfeed",
            name="tenant",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="livespan",
            name="environment",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="workflows.environment",
            ),
        ),
        migrations.AddField(
            model_name="livespan",
            name="tenant",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddIndex(
            model_name="executionfeed",
            index=models.Index(fields=["tenant", "environment"], name="execution_feeds_tenant"),
        ),
        migrations.AddIndex(
            model_name="executionfeed",
            index=models.Index(fields=["next_at"], name="execution_feeds_due"),
        ),
        migrations.AddConstraint(
            model_name="executionfeed",
            constraint=models.UniqueConstraint(fields=("environment",), name="execution_feeds_once"),
        ),
        migrations.AddIndex(
            model_name="livespan",
            index=models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-live_from"], name="workflow_live_versions_of"
            ),
        ),
        migrations.AddConstraint(
            model_name="livespan",
            constraint=models.UniqueConstraint(
                condition=models.Q(("live_until__isnull", True)),
                fields=("environment", "env_workflow_id"),
                name="workflow_live_versions_now",
            ),
        ),
        protect("execution_feeds", parents={"environment_id": "environments"}, trail=False),
        protect("workflow_live_versions", parents={"environment_id": "environments"}, trail=False),
    ]
