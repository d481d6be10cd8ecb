"""Row-level security for the list of platform admins: every scope reads it, the platform's alone writes it."""

from typing import ClassVar

from django.db import migrations

POLICIES = {
    "everybody_reads": "FOR SELECT TO opsconsole_app, opsconsole_tenant, opsconsole_readonly USING (true)",
    "platform_rows": "FOR ALL TO opsconsole_platform USING (true) WITH CHECK (true)",
    "platform_reads": "FOR SELECT TO opsconsole_platform_readonly USING (true)",
    "owner_rows": "FOR ALL TO opsconsole_owner USING (true) WITH CHECK (true)",
}
ROLES = "opsconsole_app, opsconsole_tenant"
FORWARD = [
    "ALTER TABLE platform_admins ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE platform_admins FORCE ROW LEVEL SECURITY",
    *[f"CREATE POLICY {name} ON platform_admins {rule}" for name, rule in POLICIES.items()],
    f"REVOKE INSERT, UPDATE, DELETE ON platform_admins FROM {ROLES}",
]
BACKWARD = [
    f"GRANT INSERT, UPDATE, DELETE ON platform_admins TO {ROLES}",
    *[f"DROP POLICY {name} ON platform_admins" for name in POLICIES],
    "ALTER TABLE platform_admins NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE platform_admins DISABLE ROW LEVEL SECURITY",
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenants", "0005_sign_ins_unread")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
