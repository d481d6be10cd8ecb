"""A role is never taken away by NULL.

The runbook sets roles back from the trail's last entry about a person, and that entry may be about something else than
the role: the person then keeps the one they have, and the others' are set back all the same.
"""

from typing import ClassVar

from django.db import migrations

FORWARD = [
    """CREATE FUNCTION opsconsole_keep_role() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
BEGIN
    NEW.role := OLD.role;
    RETURN NEW;
END
$body$""",
    "REVOKE ALL ON FUNCTION opsconsole_keep_role FROM PUBLIC",
    "CREATE TRIGGER keep_role BEFORE UPDATE OF role ON users FOR EACH ROW WHEN (NEW.role IS NULL)"
    " EXECUTE FUNCTION opsconsole_keep_role()",
]
BACKWARD = ["DROP TRIGGER keep_role ON users", "DROP FUNCTION opsconsole_keep_role"]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("impersonation", "0002_privileges"), ("tenants", "0002_privileges")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
