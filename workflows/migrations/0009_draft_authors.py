"""Whose a draft is, as far as n8n tells."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0008_watched_starters"),
    ]

    operations = [
        migrations.AddField(
            model_name="workflowenvmap",
            name="draft_version",
            field=models.JSONField(
                blank=True, help_text="Which version the draft is, and whose, where n8n told it.", null=True
            ),
        ),
    ]
