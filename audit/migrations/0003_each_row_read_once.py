from django.db import migrations

from audit import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_trail")]

    operations = [migrations.RunSQL(triggers.record_write_sql(), migrations.RunSQL.noop)]
