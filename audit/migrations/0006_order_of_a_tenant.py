"""A tenant's entries in the order of commitment, for its SIEM."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_each_long_value_written_once")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX audit_entry_tenant_order ON audit_logentry (tenant_id, epoch, transaction_id, id)"
            " WHERE tenant_id IS NOT NULL",
            "DROP INDEX audit_entry_tenant_order",
        )
    ]
