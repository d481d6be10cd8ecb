"""What a restore or a capture by hand makes the approved version, and who may do that.

Approving stays an act of those who may approve. What was approved for an environment before needs nobody's word again:
whoever may restore it may make it the approved version once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core import support
from operations.engine import Run
from tenants.scope import tenant_scope
from workflows.content import ContentError, fingerprint, parse
from workflows.models import Environment, WorkflowEnvMap
from workflows.permissions import may_approve

from . import repository
from .canonical import canonical_references, in_git, set_baseline
from .contents import entries, keys_of
from .errors import ApproverNeeded, ForeignSnapshot
from .manifest import FOLDER, ManifestEntry, workflow_path
from .models import Snapshot, SnapshotType
from .planning import Approves, RestoreOptions
from .restore_documents import RestoreApproval

if TYPE_CHECKING:
    from tenants.pages import Visit

    from .store import Reader

NAMED = 3


def may_approve_anything(visit: Visit, environment: Environment) -> bool:
    """Whether the visitor may approve what nobody has approved for the environment yet.

    In a support session nobody does so for production: that belongs to the customer's own people.
    """
    if not environment.is_production:
        return True
    return support.current() is None and may_approve(visit, environment)


def require_approver(visit: Visit, environment: Environment) -> None:
    """Raise ``ApproverNeeded`` where a whole environment as it is can only be approved by somebody else."""
    if environment.baseline_commit_sha and not may_approve_anything(visit, environment):
        raise ApproverNeeded(f"What is in {environment.name} now becomes approved only by somebody who may approve.")


def what_to_approve(
    visit: Visit,
    environment: Environment,
    snapshot: Snapshot,
    *,
    keys: Collection[str] | None,
    asked: bool | None,
    as_far_as_allowed: bool = False,
) -> Approves:
    """What a restore of ``keys`` (None: all) approves. Reads Git: outside any scope.

    ``asked`` None: only what a promotion itself has captured of before is approved again, as far as the visitor may.
    Raises ``ApproverNeeded`` where it was asked for and something was never approved, unless ``as_far_as_allowed``.
    """
    wanted = _is_of_before_a_promotion(environment, snapshot) if asked is None else asked
    if not wanted:
        return Approves.NOTHING
    if may_approve_anything(visit, environment):
        return Approves.EVERYTHING
    if asked and not as_far_as_allowed:
        _refuse_what_is_new(environment, snapshot, keys)
    return Approves.APPROVED_BEFORE


def refuse_foreign(environment: Environment, snapshot: Snapshot, options: RestoreOptions) -> None:
    """Raise ``ForeignSnapshot`` where a restore would carry what production never approved past a promotion.

    Nor does another's snapshot say what is to be deleted there. Outside any scope.
    """
    if not environment.is_guarded or snapshot.environment_id == environment.pk:
        return
    new = never_approved(environment, snapshot, options.keys)
    if new or options.delete_extra:
        raise ForeignSnapshot(
            f"{environment.name} takes the content of {snapshot.environment.name} as a promotion only.",
            details={"workflows": [entry.key for entry in new], "snapshot_of": str(snapshot.environment_id)},
        )


def _is_of_before_a_promotion(environment: Environment, snapshot: Snapshot) -> bool:
    return snapshot.snapshot_type == SnapshotType.PRE_PROMOTION and snapshot.environment_id == environment.pk


def _refuse_what_is_new(environment: Environment, snapshot: Snapshot, keys: Collection[str] | None) -> None:
    new = never_approved(environment, snapshot, keys)
    if new:
        names = ", ".join(f"“{entry.label}”" for entry in new[:NAMED])
        more = f" and {len(new) - NAMED} more" if len(new) > NAMED else ""
        raise ApproverNeeded(
            f"Never approved for {environment.name}: {names}{more}.", details={"workflows": [e.key for e in new]}
        )


def never_approved(
    environment: Environment, snapshot: Snapshot, keys: Collection[str] | None = None
) -> list[ManifestEntry]:
    """The entries (of ``keys``; None: all) that were never approved for the environment. Outside any scope."""
    wanted = [entry for entry in entries(snapshot) if keys is None or entry.key in keys]
    approved = approved_before(environment, wanted, keys_of(snapshot))
    return [entry for entry in wanted if entry.key not in approved]


def approved_before(
    environment: Environment, wanted: Iterable[ManifestEntry], keys: Mapping[str, str]
) -> frozenset[str]:
    """Keys of the entries whose content, published or not as they are, was ever approved for the environment.

    ``keys`` says what the ids in those contents mean. Outside any scope.
    """
    with tenant_scope(environment.tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk, git_content_hash__isnull=False)
        now = {key: rest for key, *rest in rows.values_list(
            "canonical_workflow__key", "git_content_hash", "git_active")}  # fmt: skip
    wanted = list(wanted)
    found = {entry.key for entry in wanted if now.get(entry.key) == [entry.content_hash, entry.active]}
    rest = [entry for entry in wanted if entry.key not in found]
    return frozenset(found | _approved_in_git(environment, rest, keys)) if rest else frozenset(found)


def _approved_in_git(environment: Environment, wanted: Iterable[ManifestEntry], keys: Mapping[str, str]) -> set[str]:
    store = repository.store_for(environment.tenant_id)
    versions = store.versions(environment.canonical_branch, FOLDER)
    meanings = {**keys, **canonical_references(environment)}
    with store.reader() as reader:
        return {
            entry.key
            for entry in wanted
            if _is_among(reader, entry, versions.get(workflow_path(entry.key), ()), meanings)
        }


def _is_among(reader: Reader, entry: ManifestEntry, blobs: Iterable[str], meanings: Mapping[str, str]) -> bool:
    blobs = list(dict.fromkeys(blobs))
    return entry.blob in blobs or any(_is_same(reader, entry, blob, meanings) for blob in blobs)


def _is_same(reader: Reader, entry: ManifestEntry, blob: str, meanings: Mapping[str, str]) -> bool:
    found = reader.find(blob)
    if found is None:
        return False
    try:
        content = parse(found[2])
    except ContentError:
        return False
    same_state = bool(content.get("active")) == entry.active
    return same_state and fingerprint(content).content_hash(meanings) == entry.content_hash


# -- carrying it out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToApprove:
    """What a restore brought back, by the snapshot that holds it as it is to be approved.

    ``proven`` are keys of what was read back as it was to be, or was deleted: the snapshot ``after`` holds that.
    ``edited`` are keys of what somebody has changed before the proof: of these the snapshot that was restored counts.
    """

    environment: Environment
    snapshot: Snapshot
    after: Snapshot
    proven: Collection[str]
    edited: Collection[str]
    reason: str = ""

    @property
    def parts(self) -> list[tuple[Snapshot, set[str]]]:
        """Another environment's snapshot says nothing of what is here: what was edited is left to drift, then."""
        is_home = self.snapshot.environment_id == self.environment.pk
        return [(self.after, set(self.proven)), (self.snapshot, set(self.edited) if is_home else set())]


def approve_restored(run: Run, restored: ToApprove, approves: Approves) -> RestoreApproval | None:
    """Make what was restored the approved version, as a step; None where nothing is to be approved."""
    if not approves:
        return None

    def approve() -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(_approve(run, restored, approves))
        return told

    environment = restored.environment
    title = f"Take what was restored as approved in {environment.name}"
    return msgspec.convert(run.step("approve", title, approve, external_call=in_git(environment)), RestoreApproval)


def foreseen(
    environment: Environment, snapshot: Snapshot, keys: Collection[str], approves: Approves
) -> dict[str, Any] | None:
    """What a restore of these workflows would approve, for its dry run. Reads Git: outside any scope."""
    if not approves:
        return None
    chosen = set(keys) if approves == Approves.EVERYTHING else _approved_of(environment, snapshot, keys)
    told: dict[str, Any] = msgspec.to_builtins(
        RestoreApproval(approved=sorted(chosen), not_approved=sorted(set(keys) - chosen))
    )
    return told


def _approve(run: Run, restored: ToApprove, approves: Approves) -> RestoreApproval:
    commit, approved, left = "", set[str](), set[str]()
    for snapshot, keys in restored.parts:
        chosen = keys if approves == Approves.EVERYTHING else _approved_of(restored.environment, snapshot, keys)
        if chosen:
            commit = _set_baseline(run, restored, snapshot, chosen)
        approved |= chosen
        left |= keys - chosen
    return RestoreApproval(commit=commit or None, approved=sorted(approved), not_approved=sorted(left))


def _approved_of(environment: Environment, snapshot: Snapshot, keys: Collection[str]) -> set[str]:
    wanted = [entry for entry in entries(snapshot) if entry.key in keys]
    return set(approved_before(environment, wanted, keys_of(snapshot)))


def _set_baseline(run: Run, restored: ToApprove, snapshot: Snapshot, keys: Collection[str]) -> str:
    count = f"{len(keys)} workflow{'' if len(keys) == 1 else 's'}"
    when = f"{restored.snapshot.created_at:%Y-%m-%d %H:%M} UTC"
    subject = f"Restore {count} in {restored.environment.name} from the snapshot of {when}"
    return set_baseline(
        run,
        environment=restored.environment,
        snapshot=snapshot,
        keys=keys,
        message=f"{subject}\n\n{restored.reason}" if restored.reason else subject,
        trailers={"Restored-From": str(restored.snapshot.pk)},
    )
