"""Starting a restore: the checks that need no network, and the job."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from operations import services as operations
from operations.errors import Busy
from operations.models import Operation
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id

from .approving import refuse_foreign
from .contents import snapshot_by_id
from .errors import EnvironmentLocked
from .planning import RestoreOptions

KIND = "snapshots.restore"


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

    A dry run holds no lock. Raises ``NotFound``, ``ForeignSnapshot``, and ``EnvironmentLocked`` (with the job that
    holds the environment).
    """
    environment = environment_by_id(tenant_id, environment_id)
    snapshot = snapshot_by_id(tenant_id, snapshot_id)
    options = options or RestoreOptions()
    refuse_foreign(environment, snapshot, options)
    what = f"{'Try out the restore of' if dry_run else 'Restore'} {_amount(options)}"
    with named_lock(), tenant_scope(tenant_id):
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


@contextlib.contextmanager
def named_lock() -> Iterator[None]:
    """Let a job that finds the environment taken say so in this app's words."""
    try:
        yield
    except Busy as error:
        raise EnvironmentLocked(error.message, details=error.details) from error


def _amount(options: RestoreOptions) -> str:
    if options.keys is None:
        return "everything"
    return f"{len(options.keys)} workflow{'' if len(options.keys) == 1 else 's'}"
