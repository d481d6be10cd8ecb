from django.db import migrations

from audit import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_events_in_bulk")]

    operations = [migrations.RunSQL(triggers.TIDY_SQL, migrations.RunSQL.noop)]
