"""From an environment to its Git store: opening it, who commits, what a commit says about its origin."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q

from core import clock, context
from core.errors import Conflict
from operations.engine import Run
from tenants.models import Tenant, User
from tenants.scope import assert_no_scope, platform_scope, tenant_scope
from workflows.models import Environment

from .errors import CaptureFailed
from .manifest import DRAFTS, FOLDER, Manifest, manifest_path, parse_manifest
from .models import Snapshot
from .store import GitStore, Person, StoreMissing, Writer

CONSOLE = Person("OpsConsole", "console@opsconsole.invalid")


#: Environments of whose history something is in Git.
_WITH_HISTORY = Q(last_snapshot_id__isnull=False) | ~Q(baseline_commit_sha="")


def opened(tenant_id: uuid.UUID) -> GitStore:
    """The tenant's store, whether or not it is there."""
    return GitStore.open(settings.GIT_ROOT, tenant_id)


def store_for(tenant_id: uuid.UUID) -> GitStore:
    """The tenant's store, made for the first capture of a tenant. Not inside a database transaction.

    Raises ``StoreMissing`` where there is a history that is not there: a lost store is never made anew by itself.
    """
    assert_no_scope("Git")
    store = opened(tenant_id)
    if store.exists():
        return store
    with tenant_scope(tenant_id):
        if Environment.objects.filter(_WITH_HISTORY).exists() or Snapshot.objects.exists():
            raise StoreMissing(details={"store": store.path.name})
    return store.create()


def begin_anew(tenant_id: uuid.UUID) -> GitStore:
    """Make an empty store in place of one that is lost for good; the next captures become the approved versions.

    Rows of snapshots stay, and say that their content is missing. Raises ``Conflict`` where the store is there.
    """
    assert_no_scope("Git")
    store = opened(tenant_id)
    if store.exists():
        raise Conflict("The Git store is there.", recovery="Move it away first, if it is to be given up.")
    store.create()
    with tenant_scope(tenant_id):
        Environment.objects.update(baseline_commit_sha="", updated_at=clock.now())
    return store


def missing_stores() -> list[Tenant]:
    """Tenants that have a history and no store: the folder is lost, or not mounted."""
    with platform_scope():
        captured = set(Environment.objects.filter(_WITH_HISTORY).values_list("tenant_id", flat=True))
        tenants = list(Tenant.objects.filter(pk__in=captured).order_by("slug"))
    return [tenant for tenant in tenants if not opened(tenant.pk).exists()]


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Let what the disk refuses come out as SNAP_001, as what Git refuses does."""
    try:
        yield
    except OSError as error:
        raise CaptureFailed(
            f"The Git store cannot be written: {error.strerror or type(error).__name__}.",
            details={"errno": error.errno},
        ) from error


def people(run: Run | None) -> tuple[Person, dict[str, str]]:
    """The author of a commit, and the trailers that say who asked, as whom, through which session and job."""
    acting = context.current()
    requested_by = run.operation.requested_by_id if run else None
    known = _users(acting.actor_id, acting.acting_as_id, requested_by)
    author = known.get(acting.actor_id) or known.get(requested_by)
    asker = known.get(requested_by) or author
    trailers = {
        "Operation-Id": str(run.operation.pk) if run else "",
        "Requested-By": _email(asker),
        "Acting-As": _email(known.get(acting.acting_as_id)),
        "Session-Id": str(acting.session_id or ""),
    }
    person = Person(author.name or author.email, author.email) if author else CONSOLE
    return person, {name: value for name, value in trailers.items() if value}


def _users(*user_ids: uuid.UUID | None) -> dict[uuid.UUID | None, User]:
    wanted = {user_id for user_id in user_ids if user_id}
    if not wanted:
        return {}
    with platform_scope():
        return {user.pk: user for user in User.objects.filter(pk__in=wanted)}


def _email(user: User | None) -> str:
    return user.email if user is not None else ""


def find_snapshot(store: GitStore, environment: Environment, snapshot_id: uuid.UUID) -> tuple[str, Manifest] | None:
    """The commit of a snapshot and its manifest, if it was ever committed."""
    found = store.read_manifest(environment.pk, snapshot_id)
    return (found[0], parse_manifest(found[1])) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCommit:
    """What goes into the commit of a snapshot: path to blob of every content, and the manifest's bytes.

    ``asked_by`` is what ``people`` returned.
    """

    environment: Environment
    snapshot_id: uuid.UUID
    paths: Mapping[str, str]
    manifest: bytes
    message: str
    asked_by: tuple[Person, Mapping[str, str]]


def commit_snapshot(
    writer: Writer, commit: SnapshotCommit, *, ready: Callable[[], None], guard: Callable[[], None]
) -> str:
    """Commit what was seen: exactly these workflows, and the manifest beside those of earlier snapshots.

    Asks no database, so that it can go on beside one: ``ready`` waits for the rows and ``guard`` may still refuse; see
    ``Writer.commit``.
    """
    author, trailers = commit.asked_by
    writer.replace(FOLDER)
    writer.replace(DRAFTS)
    for path, blob in commit.paths.items():
        writer.keep(path, blob)
    writer.put(manifest_path(commit.environment.pk, commit.snapshot_id), commit.manifest)
    return writer.commit(
        message=commit.message,
        author=author,
        trailers={"Snapshot-Id": str(commit.snapshot_id), "Environment": commit.environment.slug, **trailers},
        ready=ready,
        guard=guard,
    )
