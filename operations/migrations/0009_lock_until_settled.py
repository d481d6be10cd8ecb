"""An operation that was ended by hand keeps its exclusive key until its worker lets go of its lease."""

from typing import ClassVar

from django.db import migrations, models

OPEN = ["PENDING", "RUNNING", "RETRY_PENDING", "PARKED"]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0008_schedules_by_the_clock")]
    operations: ClassVar = [
        # Leases that nobody holds: of parked work, and of what was ended by hand before.
        migrations.RunSQL(
            "UPDATE background_jobs SET lease_owner = '', lease_expires_at = NULL"
            " WHERE status <> 'RUNNING' AND (lease_owner <> '' OR lease_expires_at IS NOT NULL)",
            migrations.RunSQL.noop,
        ),
        migrations.RemoveConstraint(model_name="operation", name="background_jobs_exclusive"),
        migrations.AddConstraint(
            model_name="operation",
            constraint=models.UniqueConstraint(
                fields=("tenant", "exclusive_key"),
                condition=models.Q(("exclusive_key__isnull", False))
                & (models.Q(("status__in", OPEN)) | models.Q(("lease_owner", ""), _negated=True)),
                name="background_jobs_exclusive",
                nulls_distinct=False,
            ),
        ),
    ]
