"""Long work, its steps and its schedules may be the platform's: without a tenant, and seen by no tenant's role.

The policies stay as they are: an empty ``tenant_id`` compared with any tenant, or with none, is not true. Keys of the
platform's work are unique among themselves.
"""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import platform_parent

OPEN = ["PENDING", "RUNNING", "RETRY_PENDING", "PARKED"]


def may_be_empty(model: str) -> migrations.AlterField:
    field = models.ForeignKey(
        blank=True,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.CASCADE,
        related_name="+",
        to="tenants.tenant",
    )
    return migrations.AlterField(model_name=model, name="tenant", field=field)


def again(model: str, constraint: models.UniqueConstraint) -> list[migrations.operations.base.Operation]:
    """The constraint in place of the one of the same name."""
    return [
        migrations.RemoveConstraint(model_name=model, name=constraint.name),
        migrations.AddConstraint(model_name=model, constraint=constraint),
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("operations", "0006_retries_counted_from_nought")]
    operations: ClassVar = [
        may_be_empty("operation"),
        may_be_empty("operationstep"),
        may_be_empty("schedule"),
        *again(
            "operation",
            models.UniqueConstraint(
                fields=("tenant", "kind", "idempotency_key"),
                condition=models.Q(("idempotency_key__isnull", False)),
                name="background_jobs_idempotency",
                nulls_distinct=False,
            ),
        ),
        *again(
            "operation",
            models.UniqueConstraint(
                fields=("tenant", "exclusive_key"),
                condition=models.Q(("exclusive_key__isnull", False), ("status__in", OPEN)),
                name="background_jobs_exclusive",
                nulls_distinct=False,
            ),
        ),
        *again(
            "schedule",
            models.UniqueConstraint(fields=("tenant", "name"), name="schedules_name", nulls_distinct=False),
        ),
        platform_parent("operation_steps", "operation_id", "background_jobs"),
    ]
