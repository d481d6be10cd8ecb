"""Row-level security for people, sign-ins and kept answers, which belong to no tenant.

A tenant's role reads people, for names; it writes none of what opens an account. Kept answers are the platform's.
"""

from typing import ClassVar

from django.db import migrations

_READING = "opsconsole_app, opsconsole_tenant, opsconsole_readonly"
_WRITING = "opsconsole_app, opsconsole_tenant"
PLATFORM = {
    "platform_rows": "FOR ALL TO opsconsole_platform USING (true) WITH CHECK (true)",
    "platform_reads": "FOR SELECT TO opsconsole_platform_readonly USING (true)",
    "owner_rows": "FOR ALL TO opsconsole_owner USING (true) WITH CHECK (true)",
}
POLICIES = {
    "users": {
        "everybody_reads": f"FOR SELECT TO {_READING} USING (true)",
        "everybody_writes": f"FOR ALL TO {_WRITING} USING (true) WITH CHECK (true)",
        **PLATFORM,
    },
    "user_sessions": {"sign_ins": f"FOR ALL TO {_WRITING} USING (true) WITH CHECK (true)", **PLATFORM},
    "api_idempotency_keys": PLATFORM,
}
FORWARD = [
    statement
    for table, policies in POLICIES.items()
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        *[f"CREATE POLICY {name} ON {table} {rule}" for name, rule in policies.items()],
    )
]
BACKWARD = [
    statement
    for table, policies in POLICIES.items()
    for statement in (
        *[f"DROP POLICY {name} ON {table}" for name in policies],
        f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    )
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenants", "0009_password_hashes_encrypted")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
