"""Sessions end with the password, with the customer's suspension, and when the customer's person becomes staff.

Sign-ins that somebody takes away by hand stand in the trail: those that the console ends are events there already.
"""

from typing import ClassVar

from django.db import migrations

from impersonation.sql import CREDENTIAL_IS_NEW, HOLD, READ, STANDS

FORWARD = [
    *[text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1) for text in (READ, HOLD, STANDS)],
    CREDENTIAL_IS_NEW,
    "REVOKE ALL ON FUNCTION opsconsole_password_is_new FROM PUBLIC",
    "CREATE TRIGGER password_is_new AFTER UPDATE OF password ON users FOR EACH ROW"
    " WHEN (OLD.password IS DISTINCT FROM NEW.password) EXECUTE FUNCTION opsconsole_password_is_new()",
    "CREATE TRIGGER trail_delete AFTER DELETE ON user_sessions REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT"
    " WHEN (session_user <> 'opsconsole_app') EXECUTE FUNCTION opsconsole_record_write('user_id', 'tenant_id')",
]
BACKWARD = [
    "DROP TRIGGER trail_delete ON user_sessions",
    "DROP TRIGGER password_is_new ON users",
    "DROP FUNCTION opsconsole_password_is_new",
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("impersonation", "0003_role_kept"), ("audit", "0002_trail")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
