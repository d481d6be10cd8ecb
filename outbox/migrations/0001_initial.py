"""Events, cursors, delays and parked events."""

import uuid

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

POSITION = migrations.RunSQL(
    [
        "CREATE SEQUENCE outbox_position",
        "GRANT USAGE ON SEQUENCE outbox_position"
        " TO opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_operator",
    ],
    ["DROP SEQUENCE outbox_position"],
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0006_platform_admins_secured"),
    ]

    operations = [
        POSITION,
        migrations.CreateModel(
            name="ConsumerCursor",
            fields=[
                ("name", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField(default=0)),
                ("claim", models.BigIntegerField(default=0)),
                ("batch_end", models.BigIntegerField(blank=True, null=True)),
                ("claimed_at", models.DateTimeField(blank=True, null=True)),
                ("handled", models.BigIntegerField(default=0, help_text="How many events it has handled.")),
                ("handled_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "outbox_cursors",
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=64)),
                ("version", models.SmallIntegerField()),
                ("payload", models.JSONField(default=dict)),
                ("caused_by", models.JSONField(default=dict, help_text="Who caused it, as whom, through which door.")),
                ("occurred_at", models.DateTimeField()),
                (
                    "position",
                    models.BigIntegerField(
                        db_default=django.db.models.expressions.RawSQL("nextval('outbox_position')", [])
                    ),
                ),
                ("sequence", models.BigIntegerField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "outbox_events",
            },
        ),
        migrations.CreateModel(
            name="OutboxOrder",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("last_sequence", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "outbox_order",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="outbox_order_one_row")],
            },
        ),
        migrations.CreateModel(
            name="ParkedEvent",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("consumer", models.CharField(max_length=80)),
                ("attempts", models.SmallIntegerField(default=0)),
                ("error", models.TextField(blank=True)),
                ("parked_at", models.DateTimeField()),
                ("retry_requested_at", models.DateTimeField(blank=True, null=True)),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="outbox.outboxevent"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "outbox_parked_events",
            },
        ),
        migrations.CreateModel(
            name="Delay",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("consumer", models.CharField(max_length=80)),
                ("sequence", models.BigIntegerField()),
                ("attempts", models.SmallIntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                ("error", models.TextField(blank=True)),
                ("since", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "outbox_delays",
                "indexes": [models.Index(fields=["consumer", "next_try_at"], name="outbox_delays_due")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "consumer"), name="outbox_delays_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("sequence", None)), fields=["position"], name="outbox_events_unsequenced"
            ),
        ),
        migrations.AddConstraint(
            model_name="outboxevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("sequence__isnull", False)), fields=("sequence",), name="outbox_events_sequence"
            ),
        ),
        migrations.AddIndex(
            model_name="parkedevent",
            index=models.Index(fields=["tenant", "-parked_at", "-id"], name="outbox_parked_tenant"),
        ),
        migrations.AddIndex(
            model_name="parkedevent",
            index=models.Index(
                condition=models.Q(("retry_requested_at__isnull", False)),
                fields=["consumer"],
                name="outbox_parked_requested",
            ),
        ),
        migrations.AddConstraint(
            model_name="parkedevent",
            constraint=models.UniqueConstraint(fields=("event", "consumer"), name="outbox_parked_once"),
        ),
    ]
