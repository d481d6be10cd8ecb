"""A tenant's last job of a kind is asked for by rounds of the beat."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0004_runbook_schema")]

    operations = [
        migrations.AddIndex(
            model_name="operation",
            index=models.Index(fields=["kind", "tenant", "-created_at"], name="background_jobs_kind"),
        )
    ]
