"""Events appended by the hundred ask for their epoch once."""

from django.db import migrations

from audit import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_each_row_read_once")]

    operations = [migrations.RunSQL(triggers.record_events_sql(), migrations.RunSQL.noop)]
