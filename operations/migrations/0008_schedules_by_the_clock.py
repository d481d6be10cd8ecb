"""Schedules by a cron expression in a time zone, and a jitter that spreads what is due at one moment."""

from typing import ClassVar

from django.db import migrations, models

BY_PERIOD = models.Q(("cron", ""), ("every_seconds__gt", 0))
BY_CRON = models.Q(("every_seconds", 0), models.Q(("cron", ""), _negated=True))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0007_work_of_the_platform")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="schedule",
            name="cron",
            field=models.CharField(
                blank=True, default="", help_text="Five fields; empty: by the period.", max_length=100
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="time_zone",
            field=models.CharField(default="UTC", help_text="Whose clocks the cron expression means.", max_length=64),
        ),
        migrations.AddField(
            model_name="schedule",
            name="jitter_seconds",
            field=models.IntegerField(default=0, help_text="Each run is late by up to this, to spread the load."),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="every_seconds",
            field=models.IntegerField(help_text="0: by the cron expression."),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(BY_PERIOD, BY_CRON, _connector="OR"), name="schedules_timing"
            ),
        ),
    ]
