"""Answers kept for ``Idempotency-Key``. They hold what callers of every tenant were told: only the platform's role sees them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_privileges")]

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("scope_key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("request_digest", models.CharField(max_length=64)),
                ("status", models.SmallIntegerField(blank=True, null=True)),
                ("content_type", models.CharField(blank=True, max_length=120)),
                ("body", models.BinaryField(blank=True, null=True)),
                ("claimed_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "api_idempotency_keys",
                "indexes": [models.Index(fields=["expires_at"], name="api_idempotency_keys_expiry")],
            },
        ),
        migrations.RunSQL(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON api_idempotency_keys TO opsconsole_platform",
            migrations.RunSQL.noop,
        ),
    ]
