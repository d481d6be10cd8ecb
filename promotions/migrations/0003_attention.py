"""Since when a promotion needs a person; those that say so already are told and hold their target from now on."""

from django.db import migrations, models

FILL = """
    UPDATE promotions SET attention_since = coalesce(ended_at, updated_at)
    WHERE status = 'FAILED' AND execution_result -> 'needs_attention' = 'true'::jsonb
"""


class Migration(migrations.Migration):
    dependencies = [("promotions", "0002_privileges")]

    operations = [
        migrations.AddField(
            model_name="promotion",
            name="attention_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="promotion",
            index=models.Index(
                condition=models.Q(("attention_since__isnull", False)),
                fields=["target_environment"],
                name="promotions_attention",
            ),
        ),
    ]
