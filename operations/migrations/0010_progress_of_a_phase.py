"""A job's rate is that of the phase under way: since when, and what was done already."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0009_lock_until_settled")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="operation",
            name="progress_since",
            field=models.DateTimeField(blank=True, help_text="When the phase that is under way began.", null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="progress_from",
            field=models.IntegerField(default=0, help_text="What was done already when that phase began."),
        ),
    ]
