"""The trail's trigger function; the application may append and read, nothing else."""

from django.db import migrations

from audit.triggers import record_write_sql
from tenants.rls import CURRENT_TENANT


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE audit_logs FORCE ROW LEVEL SECURITY",
                "CREATE POLICY tenant_rows ON audit_logs FOR ALL TO opsconsole_app, opsconsole_tenant, opsconsole_readonly"
                f" USING (tenant_id = {CURRENT_TENANT}) WITH CHECK (tenant_id = {CURRENT_TENANT})",
                "CREATE POLICY platform_rows ON audit_logs FOR ALL TO opsconsole_platform USING (true) WITH CHECK (true)",
                "CREATE POLICY owner_rows ON audit_logs FOR ALL TO opsconsole_owner USING (true) WITH CHECK (true)",
                "GRANT SELECT, INSERT ON audit_logs TO opsconsole_app, opsconsole_tenant, opsconsole_platform",
                "GRANT SELECT ON audit_logs TO opsconsole_readonly, opsconsole_operator",
                "GRANT USAGE ON SEQUENCE audit_logs_id_seq TO opsconsole_app, opsconsole_tenant, opsconsole_platform",
                record_write_sql(),
            ],
            ["DROP FUNCTION opsconsole_record_write() CASCADE"],
        ),
    ]
