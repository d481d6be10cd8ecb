"""What was published and could not be proven at once, watched afterwards."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0005_sign_ins_unread"),
        ("workflows", "0007_references"),
    ]

    operations = [
        migrations.CreateModel(
            name="StarterWatch",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("operation_id", models.UUIDField()),
                ("workflow_key", models.CharField(max_length=160)),
                ("workflow_name", models.CharField(blank=True, max_length=500)),
                ("env_workflow_id", models.CharField(max_length=64)),
                (
                    "version_id",
                    models.CharField(blank=True, help_text="The version that was published.", max_length=64),
                ),
                ("node", models.CharField(blank=True, max_length=300)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("schedule", "Schedule"),
                            ("poller", "Poller"),
                            ("address", "Address"),
                            ("event", "Event from outside"),
                        ],
                        max_length=16,
                    ),
                ),
                ("address", models.CharField(blank=True, max_length=1000)),
                (
                    "is_alone",
                    models.BooleanField(default=True, help_text="Whether an execution can be of no other starter."),
                ),
                ("why", models.CharField(blank=True, max_length=300)),
                ("fault", models.CharField(blank=True, max_length=300)),
                ("since", models.DateTimeField()),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("deadline", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("watched", "Watched"),
                            ("proven", "Proven"),
                            ("bad", "Does not start"),
                            ("given_up", "Never seen to run"),
                            ("superseded", "No longer watched"),
                        ],
                        default="watched",
                        max_length=16,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                ("run_number", models.BigIntegerField(blank=True, null=True)),
                ("run_status", models.CharField(blank=True, max_length=24)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "asked_at",
                    models.DateTimeField(blank=True, help_text="When n8n was last asked about it.", null=True),
                ),
                ("next_look_at", models.DateTimeField()),
                (
                    "telling",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Nobody has to be told"),
                            ("waiting", "Waits to be told"),
                            ("sending", "Is being told"),
                            ("told", "Told"),
                            ("failed", "Could not be told"),
                            ("unknown", "Told or not"),
                        ],
                        max_length=16,
                    ),
                ),
                ("tell_attempt", models.IntegerField(default=0)),
                (
                    "tell_at",
                    models.DateTimeField(
                        blank=True, help_text="Told then, or tried again or given up then.", null=True
                    ),
                ),
                ("told_note", models.CharField(blank=True, max_length=1000)),
                (
                    "environment",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
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
                "db_table": "starter_watches",
                "indexes": [
                    models.Index(
                        fields=["tenant", "environment", "env_workflow_id", "-since"], name="starter_watches_workflow"
                    ),
                    models.Index(fields=["tenant", "operation_id"], name="starter_watches_operation"),
                    models.Index(
                        condition=models.Q(("state__in", ["watched", "bad", "given_up"])),
                        fields=["next_look_at"],
                        name="starter_watches_due",
                    ),
                    models.Index(
                        condition=models.Q(("telling__in", ["waiting", "sending"])),
                        fields=["tell_at"],
                        name="starter_watches_telling",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("operation_id", "env_workflow_id", "version_id", "node"), name="starter_watches_once"
                    )
                ],
            },
        ),
        protect("starter_watches", parents={"environment_id": "environments"}, watch=("state",)),
    ]
