"""A seal takes the next number and ends at an entry that is there; an epoch follows the one before.

Whoever may append could else say that all entries to come are sealed, or that the cluster was restored, with one row.
Whether a seal is one of ours only its signature tells: see ``audit.sealing``.
"""

from typing import ClassVar

from django.db import migrations

from audit.triggers import EPOCH_FOLLOWS_SQL, SEAL_FITS_SQL

FORWARD = [
    SEAL_FITS_SQL,
    EPOCH_FOLLOWS_SQL,
    "REVOKE ALL ON FUNCTION opsconsole_seal_fits, opsconsole_epoch_follows FROM PUBLIC",
    "CREATE TRIGGER fits BEFORE INSERT ON audit_seal FOR EACH ROW EXECUTE FUNCTION opsconsole_seal_fits()",
    "CREATE TRIGGER follows BEFORE INSERT ON audit_epoch FOR EACH ROW EXECUTE FUNCTION opsconsole_epoch_follows()",
]
BACKWARD = ["DROP FUNCTION opsconsole_seal_fits CASCADE", "DROP FUNCTION opsconsole_epoch_follows CASCADE"]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("audit", "0008_nobody_announces_at_psql")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
