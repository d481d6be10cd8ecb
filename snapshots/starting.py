"""Starting a restore: the checks that need no network, and the job."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from operations import services as operations
from operations.errors import Busy
from operations.models import Operation
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id

from . import services
from .errors import EnvironmentLocked

KIND = "snapshots.restore"


def start_restore(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID | str,
    snapshot_id: uuid.UUID | str,
    requested_by: User | None,
    keys: Collection[str] | None = None,
    dry_run: bool = False,
    overwrite_existing: bool = True,
    delete_extra: bool = False,
    skip_validation: bool = False,
    stubs: bool = False,
    repair: bool = False,
    leave_out: bool = False,
    idempotency_key: str | None = None,
) -> Operation:
    """Start a restore of a snapshot (all of it, or ``keys``) into an environment.

    The choices are those of ``planning.Options``. A dry run holds no lock. Raises ``NotFound`` and
    ``EnvironmentLocked`` (with the job that holds the environment).
    """
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = services.snapshot_by_id(tenant_id, snapshot_id)
    chosen = sorted(set(keys)) if keys is not None else None
    params = {
        "environment_id": str(environment.pk),
        "snapshot_id": str(snapshot.pk),
        "keys": chosen,
        "dry_run": dry_run,
        "overwrite_existing": overwrite_existing,
        "delete_extra": delete_extra,
        "skip_validation": skip_validation,
        "stubs": stubs,
        "repair": repair,
        "leave_out": leave_out,
    }
    what = "everything" if chosen is None else f"{len(chosen)} workflow{'' if len(chosen) == 1 else 's'}"
    verb = "Try out the restore of" if dry_run else "Restore"
    try:
        with tenant_scope(tenant_id):
            return operations.start(
                tenant_id=tenant_id,
                kind=KIND,
                title=f"{verb} {what} into {environment.name} from {snapshot.created_at:%Y-%m-%d %H:%M} UTC",
                params=params,
                requested_by=requested_by,
                idempotency_key=idempotency_key,
                exclusive_key=None if dry_run else environment.write_lock,
                environment_id=environment.pk,
                subject_type="snapshot",
                subject_id=snapshot.pk,
            )
    except Busy as error:
        raise EnvironmentLocked(error.message, details=error.details) from error
