"""Starting a restore: the checks that need no network, and the job."""

from __future__ import annotations

import uuid

from operations import services as operations
from operations.errors import Busy
from operations.models import Operation
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id
from workflows.models import Environment

from .contents import snapshot_by_id
from .errors import ContentOfAnother, EnvironmentLocked
from .models import Snapshot
from .planning import RestoreOptions

KIND = "snapshots.restore"


def require_own_content(environment: Environment, snapshot: Snapshot) -> None:
    """Raise ``ContentOfAnother`` where the snapshot would bring another's content into a guarded environment."""
    if environment.is_guarded and snapshot.environment_id != environment.pk:
        raise ContentOfAnother(
            f"{environment.name} takes the content of {snapshot.environment.name} as a promotion only.",
            details={"environment_id": str(environment.pk), "snapshot_of": str(snapshot.environment_id)},
        )


def start_restore(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID | str,
    snapshot_id: uuid.UUID | str,
    requested_by: User | None,
    options: RestoreOptions | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Operation:
    """Start a restore of a snapshot into an environment (by default: all of it, as it was).

    A dry run holds no lock. Raises ``NotFound``, ``ContentOfAnother``, and ``EnvironmentLocked`` (with the job that
    holds the environment).
    """
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = snapshot_by_id(tenant_id, snapshot_id)
    require_own_content(environment, snapshot)
    options = options or RestoreOptions()
    what = f"{'Try out the restore of' if dry_run else 'Restore'} {_amount(options)}"
    try:
        with tenant_scope(tenant_id):
            return operations.start(
                tenant_id=tenant_id,
                kind=KIND,
                title=f"{what} into {environment.name} from {snapshot.created_at:%Y-%m-%d %H:%M} UTC",
                params={
                    "environment_id": str(environment.pk),
                    "snapshot_id": str(snapshot.pk),
                    "dry_run": dry_run,
                    **options.to_params(),
                },
                requested_by=requested_by,
                idempotency_key=idempotency_key,
                exclusive_key=None if dry_run else environment.write_lock,
                environment_id=environment.pk,
                subject_type="snapshot",
                subject_id=snapshot.pk,
            )
    except Busy as error:
        raise EnvironmentLocked(error.message, details=error.details) from error


def _amount(options: RestoreOptions) -> str:
    if options.keys is None:
        return "everything"
    return f"{len(options.keys)} workflow{'' if len(options.keys) == 1 else 's'}"
