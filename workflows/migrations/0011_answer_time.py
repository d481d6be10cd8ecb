"""How long each n8n took to answer."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workflows", "0010_guards")]

    operations = [
        migrations.AddField(
            model_name="executionfeed",
            name="answer_ms",
            field=models.IntegerField(
                blank=True, help_text="How long n8n took for the newest page, last time.", null=True
            ),
        )
    ]
