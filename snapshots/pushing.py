"""Copying a tenant's Git store to its remote: a job of its own, which may fail without harm to what is here.

The rows know the newest commits; the last push says which it was for. Where the two differ a round of the beat starts
the next one, whatever wrote the commits, and also after a crash between a commit and anything that follows it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from core import clock, crypto
from operations import services as operations
from operations.effects import ExternalCall
from operations.engine import Run
from operations.errors import Busy
from operations.models import Operation, OperationStatus
from tenants.models import Tenant, User
from tenants.scope import platform_scope, tenant_scope
from workflows.gateway import address_policy
from workflows.models import Environment
from workflows.n8n.errors import AddressRefused, NameNotFound

from . import repository
from .errors import NotCopied
from .models import Snapshot
from .store import Remote, check_remote
from .store.errors import PushFailed, PushUnreachable, RemoteNotAllowed

KIND = "snapshots.push"
PORTS = {"https": 443, "ssh": 22}
#: After a push that failed, the same commits are tried again this much later.
AGAIN_AFTER = timedelta(minutes=15)


def keep_copied() -> int:
    """The beat's round: what was committed since the last push is copied, where the tenant has a remote. How many.

    Four reads for all tenants together: nearly always there is nothing to do.
    """
    with platform_scope():
        remotes = dict(Tenant.objects.exclude(git_remote_url="").values_list("pk", "git_remote_url"))
        commits = _newest_commits(list(remotes))
        pushes = Operation.objects.filter(kind=KIND, tenant_id__in=remotes).order_by("tenant_id", "-created_at")
        last = {push.tenant_id: push for push in pushes.distinct("tenant_id")}
    started = 0
    for tenant_id, url in remotes.items():
        wanted = _wanted(url, commits[tenant_id])
        if wanted["commits"] and _is_due(wanted, last.get(tenant_id)):
            with contextlib.suppress(Busy), tenant_scope(tenant_id):
                _start(tenant_id, wanted, requested_by=None)
                started += 1
    return started


def _newest_commits(tenant_ids: list[uuid.UUID]) -> defaultdict[uuid.UUID, set[str]]:
    """What the rows know: the last capture and what is approved, of every environment."""
    environments = Environment.objects.filter(tenant_id__in=tenant_ids)
    seen = Snapshot.objects.filter(pk__in=environments.values("last_snapshot_id"))
    found: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
    for tenant_id, sha in (
        *environments.values_list("tenant_id", "baseline_commit_sha"),
        *seen.values_list("tenant_id", "git_commit_sha"),
    ):
        if sha:
            found[tenant_id].add(sha)
    return found


def start_push(*, tenant_id: uuid.UUID, requested_by: User | None) -> Operation:
    """Copy now. Raises ``RemoteNotAllowed`` where the tenant has no remote, ``Busy`` while it is being copied."""
    with tenant_scope(tenant_id):
        url = Tenant.objects.values_list("git_remote_url", flat=True).get(pk=tenant_id)
        if not url:
            raise RemoteNotAllowed(
                "This tenant has no Git remote.", recovery="An owner enters its address in the settings."
            )
        wanted = _wanted(url, _newest_commits([tenant_id])[tenant_id])
        return _start(tenant_id, wanted, requested_by=requested_by)


def _wanted(url: str, commits: set[str]) -> dict[str, Any]:
    return {"remote": url, "commits": sorted(commits)}


def _is_due(wanted: dict[str, Any], last: Operation | None) -> bool:
    if last is None or last.params != wanted:
        return True
    failed = last.status in (OperationStatus.FAILED, OperationStatus.CANCELLED)
    return failed and last.ended_at is not None and last.ended_at < clock.now() - AGAIN_AFTER


def _start(tenant_id: uuid.UUID, wanted: dict[str, Any], *, requested_by: User | None) -> Operation:
    return operations.start(
        tenant_id=tenant_id,
        kind=KIND,
        title="Copy the history to the Git remote",
        params=wanted,
        requested_by=requested_by,
        # Of two pushes at once, the slower would be refused for not knowing what the quicker brought.
        exclusive_key=f"git-remote:{tenant_id}",
    )


def push(run: Run) -> dict[str, Any]:
    """Bring the remote up to date: ``{remote, moved, unchanged}``. Repeating it does no harm.

    Raises ``NotCopied`` (SNAP_001) with its cause, one of ``PushFailed``'s kinds or ``RemoteNotAllowed`` (GIT_…).
    """
    with run.fenced():
        tenant = Tenant.objects.get(pk=run.tenant_id)
    if not tenant.git_remote_url:
        return {"remote": "", "moved": [], "unchanged": []}
    store = repository.store_for(run.tenant_id)

    def act() -> dict[str, Any]:
        _may_be_reached(tenant.git_remote_url)
        done = store.push(_remote(tenant))
        return {"remote": tenant.git_remote_url, "moved": list(done.moved), "unchanged": list(done.unchanged)}

    intent = {"remote": tenant.git_remote_url, "branches": store.branches()}
    external_call = ExternalCall("git", "tenants", tenant.pk, tenant.name, {"remote": tenant.git_remote_url})
    try:
        result: dict[str, Any] = run.step(
            "push", "Push every branch to the remote", act, intent=intent, external_call=external_call
        )
    except (PushFailed, RemoteNotAllowed) as cause:
        raise NotCopied(
            cause.message, recovery=cause.recovery, details={**cause.details, "cause": cause.code}
        ) from cause
    return result


def _remote(tenant: Tenant) -> Remote:
    secret = crypto.decrypt(tenant.git_remote_secret) if tenant.git_remote_secret else ""
    by_ssh = check_remote(tenant.git_remote_url) == "ssh"
    return Remote(
        url=tenant.git_remote_url,
        username=tenant.git_remote_username,
        password="" if by_ssh else secret,
        ssh_key=secret if by_ssh else "",
        known_hosts=tenant.git_remote_known_hosts,
    )


def _may_be_reached(url: str) -> None:
    """The same border as for n8n: no address inside the operator's network unless it is allowed."""
    protocol = check_remote(url)
    parts = urlsplit(url)
    try:
        address_policy().resolve(parts.hostname or "", parts.port or PORTS[protocol])
    except NameNotFound as error:
        raise PushUnreachable(error.message, details=error.details) from error
    except AddressRefused as error:
        raise RemoteNotAllowed(
            error.message,
            recovery="Give an address that the console may reach, or have its operator allow that network.",
            details=error.details,
        ) from error


@dataclass(frozen=True, slots=True)
class Copied:
    """How far the copy has come: the last push that ended and the last that went well."""

    last: Operation | None
    well: Operation | None

    @property
    def failed(self) -> bool:
        return self.last is not None and self.last.status != OperationStatus.COMPLETED


def copied() -> Copied:
    """Of the tenant whose scope is open."""
    ended = Operation.objects.filter(kind=KIND, ended_at__isnull=False).order_by("-created_at")
    return Copied(ended.first(), ended.filter(status=OperationStatus.COMPLETED).first())
