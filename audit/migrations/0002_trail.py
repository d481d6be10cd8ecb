"""The trail's functions and refusals; the application reads it, and appends through a function alone."""

from django.db import migrations

from audit import triggers
from tenants.rls import CURRENT_TENANT, grant, protect

READERS = (
    "opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_platform_readonly,"
    " opsconsole_operator"
)
FUNCTIONS = (
    "opsconsole_record_write()",
    "opsconsole_record_events(jsonb)",
    "opsconsole_trail_partitions(integer)",
    "opsconsole_trail_epoch()",
    "opsconsole_tidy(jsonb)",
    "opsconsole_refuse()",
)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE audit_logentry ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE audit_logentry FORCE ROW LEVEL SECURITY",
                "ALTER TABLE audit_logentry_default ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE audit_logentry_default FORCE ROW LEVEL SECURITY",
                "CREATE POLICY tenant_rows ON audit_logentry FOR ALL TO opsconsole_app, opsconsole_tenant, opsconsole_readonly"
                f" USING (tenant_id = {CURRENT_TENANT}) WITH CHECK (tenant_id = {CURRENT_TENANT})",
                "CREATE POLICY platform_rows ON audit_logentry FOR ALL TO opsconsole_platform"
                " USING (true) WITH CHECK (true)",
                "CREATE POLICY platform_reads ON audit_logentry FOR SELECT TO opsconsole_platform_readonly USING (true)",
                "CREATE POLICY owner_rows ON audit_logentry FOR ALL TO opsconsole_owner USING (true) WITH CHECK (true)",
                f"GRANT SELECT ON audit_logentry, audit_logs TO {READERS}",
                triggers.REFUSE_SQL,
                triggers.TIDY_SQL,
                triggers.EPOCH_SQL,
                triggers.record_write_sql(),
                triggers.record_events_sql(),
                triggers.PARTITIONS_SQL,
                *[f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC" for name in FUNCTIONS],
                f"GRANT EXECUTE ON FUNCTION opsconsole_record_events(jsonb) TO {READERS}",
                "GRANT EXECUTE ON FUNCTION opsconsole_trail_partitions(integer) TO opsconsole_platform",
                *triggers.append_only("audit_logentry"),
                "CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_logentry_default"
                f" FOR EACH STATEMENT EXECUTE FUNCTION opsconsole_refuse('{triggers.APPEND_ONLY}')",
                "SELECT opsconsole_trail_partitions(3)",
                "ALTER TABLE audit_seal ALTER COLUMN leaves SET STORAGE EXTERNAL",
                *triggers.append_only("audit_seal"),
                "CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON audit_epoch FOR EACH STATEMENT"
                f" EXECUTE FUNCTION opsconsole_refuse('{triggers.APPEND_ONLY}')",
            ],
            [f"DROP FUNCTION IF EXISTS {name} CASCADE" for name in FUNCTIONS],
        ),
        grant("audit_seal", app="SELECT"),
        grant("audit_epoch", app="SELECT"),
        migrations.RunSQL(
            [
                "GRANT INSERT ON audit_seal TO opsconsole_platform",
                "GRANT INSERT, UPDATE ON audit_epoch TO opsconsole_platform",
            ],
            migrations.RunSQL.noop,
        ),
        protect("legal_holds"),
    ]
