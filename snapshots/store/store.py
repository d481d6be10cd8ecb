"""A tenant's Git store: one bare repository, branches ``env/<slug>`` (approved) and ``snapshots/<slug>`` (seen)."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from core import outgoing, support

from . import history, locks, maintenance, push
from .errors import BranchMoved, ContentMissing, StoreMissing, write_failure
from .history import CommitInfo, LogPage, ManifestRef, TreeDiff
from .names import check_branch, check_path, check_sha, check_tenant
from .objects import Reader
from .plumbing import Plumbing
from .refs import move_branch, tip, tips
from .writer import TIP, Conflict, Writer, _Tip


class GitStore:
    """The repository at ``<root>/<tenant_id>.git``. Cheap to make; holds no process and no file open.

    May be used by several threads and processes at once. Never call it inside a database transaction.
    Reading raises StoreMissing, ContentMissing (both SNAP_002) and ContentDamaged (SNAP_003);
    writing raises WriteFailed and its kinds (SNAP_001) and BranchMoved (SNAP_004), with nothing changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._plumbing = Plumbing(self.path)

    @classmethod
    def open(cls, root: Path | str, tenant_id: uuid.UUID | str) -> GitStore:
        """The store of a tenant, whether or not it exists yet."""
        return cls(Path(root) / f"{check_tenant(tenant_id)}.git")

    # -- being there --------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        return (self.path / "HEAD").is_file() and (self.path / "objects").is_dir()

    def create(self) -> GitStore:
        """Make the repository if it is not there. Safe to call at once from anywhere, and to be killed in."""
        if self.exists():
            return self
        building = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            building.mkdir(mode=0o700)
            Plumbing(building).must("init", "--quiet", "--bare", "--template=", "--object-format=sha1", str(building))
            with contextlib.suppress(FileExistsError):
                # An empty folder in the place is replaced; a repository somebody else just made is not empty.
                building.rename(self.path)
        except OSError as error:
            if not self.exists():
                raise locks.failure_of(error) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        if not self.exists():
            raise write_failure("not a git repository", command="init")
        return self

    def delete(self) -> None:
        """Remove the whole repository; nothing happens if it is not there."""
        support.refuse_reading_only("Deleting a Git store")
        going = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex}.gone")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(going)
            shutil.rmtree(going)

    # -- writing ------------------------------------------------------------------------------------------------

    def writer(
        self,
        branch: str,
        *,
        base: str | _Tip | None = TIP,
        replace: Iterable[str] = (),
        on_conflict: Conflict = "rebase",
        resend: bool = False,
    ) -> Writer:
        """A commit to be collected, as a context manager; see :class:`Writer`.

        ``base`` is the commit the changes are meant for (None: the branch does not exist yet);
        left out, it is wherever the branch is when the writer is entered.
        """
        support.refuse_reading_only("Writing to Git")
        if not self.exists():
            raise StoreMissing
        return Writer(self._plumbing, branch, base=base, replace=replace, on_conflict=on_conflict, resend=resend)

    def move_branch(
        self, branch: str, *, to: str | None, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """Point a branch at a commit that exists (None: delete it), if it is where expected. Raises BranchMoved."""
        support.refuse_reading_only("Writing to Git")
        if to is None and expected is None:
            return
        with locks.writing(self.path):
            outcome = move_branch(
                self._plumbing,
                branch,
                new=check_sha(to) if to else None,
                old=check_sha(expected) if expected else None,
                guard=guard,
            )
        if outcome.moved or outcome.at == to:
            return
        if outcome.at != expected:
            raise BranchMoved(details={"branch": branch, "expected": expected, "found": outcome.at})
        raise write_failure(outcome.stderr, branch=branch)

    # -- reading ------------------------------------------------------------------------------------------------

    def branches(self) -> dict[str, str]:
        """Branch → commit."""
        self._must_exist()
        return tips(self._plumbing)

    def tip(self, branch: str) -> str | None:
        """The commit a branch is at, or None where there is no such branch."""
        self._must_exist()
        return tip(self._plumbing, check_branch(branch))

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader]:
        """One process for many reads; for one thread."""
        self._must_exist()
        with Reader(self._plumbing) as reader:
            yield reader

    def tree(self, commit: str, prefix: str = "") -> dict[str, str]:
        """Path from the root → blob, of the files below ``prefix``; empty where there is nothing."""
        with self.reader() as reader:
            return dict(reader.files(reader.commit_tree(commit), check_path(prefix.rstrip("/")) if prefix else ""))

    def read(self, commit: str, path: str) -> bytes:
        """One file as it is in a commit. Raises ContentMissing."""
        with self.reader() as reader:
            entry = reader.lookup(reader.commit_tree(commit), check_path(path))
            if entry is None or entry.is_directory:
                raise ContentMissing(details={"object": f"{commit}:{path}"})
            return next(data for _, data in reader.blobs([entry.sha]))

    def read_blobs(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Contents in the order asked for; one in memory at a time, each checked against its name."""
        with self.reader() as reader:
            yield from reader.blobs(shas)

    def log(self, branch: str, *, limit: int = 50, cursor: str | None = None) -> LogPage:
        """Commits of a branch, newest first. ``cursor`` is the ``next_cursor`` of the page before."""
        start = check_sha(cursor) if cursor else self.tip(branch)
        if start is None:
            return LogPage([], None)
        limit = max(1, min(limit, 1000))
        commits = history.log(self._plumbing, start, limit=limit + 1, skip=1 if cursor else 0)
        return LogPage(commits[:limit], commits[limit - 1].sha if len(commits) > limit else None)

    def commit_info(self, commit: str) -> CommitInfo:
        """One commit. Raises ContentMissing."""
        self._must_exist()
        return history.log(self._plumbing, commit, limit=1)[0]

    def diff_trees(self, old: str | None, new: str, prefix: str = "") -> TreeDiff:
        """Which files differ between two commits (``old`` None: compared with nothing)."""
        self._must_exist()
        return history.diff_trees(self._plumbing, old, new, prefix)

    def versions(self, branch: str, folder: str) -> dict[str, list[str]]:
        """By path, every blob that a branch ever held below ``folder``, newest first."""
        start = self.tip(branch)
        return history.versions(self._plumbing, start, folder) if start is not None else {}

    def find_manifest(
        self, environment_id: uuid.UUID | str, snapshot_id: uuid.UUID | str, *, removed: bool = False
    ) -> ManifestRef | None:
        """Where a snapshot's manifest came in, on whichever branch; None where it never did.

        Asks the tips first, which is quick; with ``removed`` also the whole history, for one taken out since.
        """
        environment, name = str(environment_id), str(snapshot_id)
        path = check_path(f"snapshots/{environment}/{name}.json")
        with self.reader() as reader:
            tips_now = set(self.branches().values())
            stands = any(reader.lookup(reader.commit_tree(commit), path) is not None for commit in tips_now)
        if not stands and not removed:
            return None
        return next(history.manifests(self._plumbing, environment, name), None)

    def read_manifest(
        self, environment_id: uuid.UUID | str, snapshot_id: uuid.UUID | str, *, removed: bool = False
    ) -> tuple[str, bytes] | None:
        """The commit that brought a manifest in, and the manifest; None where :meth:`find_manifest` finds none."""
        found = self.find_manifest(environment_id, snapshot_id, removed=removed)
        return (found.commit, next(data for _, data in self.read_blobs([found.blob]))) if found else None

    def manifests(self, environment_id: uuid.UUID | str = "") -> Iterator[ManifestRef]:
        """All manifests ever written (of one environment), newest first: enough to rebuild the database's rows."""
        self._must_exist()
        yield from history.manifests(self._plumbing, str(environment_id))

    # -- care ---------------------------------------------------------------------------------------------------

    def verify(self, *, quick: bool = False) -> maintenance.Verification:
        """Check every object and branch; damage is reported, not raised. ``quick`` skips the contents of files."""
        return maintenance.verify(self._plumbing, quick=quick)

    def gc(self, *, full: bool = False) -> maintenance.Care:
        """Pack what has piled up; ``full`` packs all anew and drops what no branch leads to. Safe at any time."""
        self._must_exist()
        return maintenance.maintain(self._plumbing, full=full)

    def keep(self, commits: Iterable[str]) -> int:
        """Keep commits from being cleaned away although no branch leads to them; how many were in danger."""
        self._must_exist()
        with locks.writing(self.path):
            return maintenance.keep(self._plumbing, commits)

    def size(self) -> maintenance.Size:
        self._must_exist()
        return maintenance.size(self._plumbing)

    def push(
        self,
        remote: push.Remote,
        *,
        branches: Sequence[str] | None = None,
        timeout: float = 120.0,
        allow_file: bool = False,
        allow_http: bool = False,
    ) -> push.Pushed:
        """Bring a remote up to date, never by force; safe to repeat. Raises PushFailed's kinds, RemoteNotAllowed."""
        support.refuse_reading_only("A push")
        outgoing.refuse_stopped()
        self._must_exist()
        return push.push(
            self._plumbing, remote, branches=branches, timeout=timeout, allow_file=allow_file, allow_http=allow_http
        )

    def _must_exist(self) -> None:
        if not self.exists():
            raise StoreMissing
