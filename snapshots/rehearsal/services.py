"""Starting a rehearsal."""

from __future__ import annotations

import re
import uuid

from django.conf import settings

from core.errors import Invalid, NotFound
from operations import services as operations
from operations.models import Operation
from operations.selectors import started_before
from snapshots.models import Rehearsal
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.errors import EnvironmentArchived
from workflows.gateway import environment_by_id

from .errors import NothingToRehearse, RehearsalsOff
from .running import KIND

VERSION = re.compile(r"\d{1,3}\.\d{1,4}\.\d{1,4}")
#: Nothing older is started: it has holes that are known, and nobody upgrades to it.
OLDEST = (1, 123, 0)


def start_rehearsal(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    version: str,
    fresh: bool = False,
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> tuple[Rehearsal, Operation]:
    """Rehearse the upgrade of an environment to ``version`` (as 2.41.1); nothing of the environment is touched.

    ``fresh`` captures it first; otherwise its last snapshot is taken. Raises ``Invalid`` for what is no version or one
    older than ``OLDEST``, ``NothingToRehearse`` where it was never captured, ``Busy`` while another rehearsal of the
    tenant runs, ``RehearsalsOff``.
    """
    if not settings.REHEARSALS:
        raise RehearsalsOff
    version = version.strip().removeprefix("v")
    if not VERSION.fullmatch(version):
        form = "A version of n8n, in full: 2.41.1."
        raise Invalid(f"“{version[:40]}” is no version of n8n.", recovery=form, details={"fields": {"version": form}})
    if tuple(int(part) for part in version.split(".")) < OLDEST:
        oldest = "1.123.0 or a later one."
        details = {"fields": {"version": oldest}}
        raise Invalid(f"n8n {version} is too old.", recovery=f"Choose {oldest}", details=details)
    environment = environment_by_id(tenant_id, environment_id)
    if environment.is_archived:
        raise EnvironmentArchived(details={"environment_id": str(environment.pk)})
    if not fresh and environment.last_snapshot_id is None:
        raise NothingToRehearse
    with tenant_scope(tenant_id):
        known = _known(idempotency_key)
        rehearsal_id = known.pk if known is not None else uuid.uuid4()
        operation = operations.start(
            tenant_id=tenant_id,
            kind=KIND,
            title=f"Rehearse n8n {version} for {environment.name}",
            params={
                "environment_id": str(environment.pk),
                "version": version,
                "fresh": fresh,
                "rehearsal_id": str(rehearsal_id),
            },
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            exclusive_key=f"rehearsal:{tenant_id}",
            environment_id=environment.pk,
            subject_type="rehearsal",
            subject_id=rehearsal_id,
            max_attempts=2,
        )
        made, _ = Rehearsal.objects.get_or_create(
            pk=rehearsal_id,
            defaults={
                "tenant_id": tenant_id,
                "environment_id": environment.pk,
                "version": version,
                "operation_id": operation.pk,
                "created_by": requested_by,
            },
        )
        return made, operation


def _known(idempotency_key: str | None) -> Rehearsal | None:
    operation = started_before(kind=KIND, key=idempotency_key)
    return Rehearsal.objects.filter(operation_id=operation.pk).first() if operation is not None else None


def rehearsal_by_id(tenant_id: uuid.UUID, rehearsal_id: uuid.UUID) -> Rehearsal:
    """One rehearsal with its environment, or ``NotFound``."""
    with tenant_scope(tenant_id):
        found = Rehearsal.objects.select_related("environment").filter(pk=rehearsal_id).first()
    if found is None:
        raise NotFound("There is no such rehearsal.", recovery="Choose one on the environment's page.")
    return found
