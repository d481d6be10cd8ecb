from django.db import migrations

from audit import triggers


class Migration(migrations.Migration):
    dependencies = [("audit", "0007_kinds_of_a_tenant")]

    operations = [
        migrations.RunSQL(
            [triggers.TIDY_SQL, triggers.record_write_sql(), triggers.record_events_sql()], migrations.RunSQL.noop
        )
    ]
