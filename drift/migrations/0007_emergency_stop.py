"""Whether checks were stopped together with those of every tenant."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("drift", "0006_settled_without_deadline")]

    operations = [
        migrations.AddField(
            model_name="driftscheduler",
            name="is_emergency_stop",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Stopped with those of every tenant, and started with them.",
            ),
        )
    ]
