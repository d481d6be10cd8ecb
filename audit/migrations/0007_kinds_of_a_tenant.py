"""A tenant's entries of one kind, also below thousands of newer ones of other kinds."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0006_order_of_a_tenant")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX audit_entry_tenant_kind ON audit_logentry (tenant_id, resource_type, timestamp, id)"
            " WHERE tenant_id IS NOT NULL",
            "DROP INDEX audit_entry_tenant_kind",
        )
    ]
