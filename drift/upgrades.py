"""Upgrades of n8n: noticed when an environment is looked at, one event each, with what n8n itself changed.

An event compares the last snapshot of the n8n that was with the first of the n8n that is. What n8n made (see
``workflows.upgrading``) is attributed to the event wherever it shows as drift, at this look or at a later one; what
people made in the same window is drift as ever.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from core import clock
from core.errors import OpsError
from operations.errors import Interrupted
from snapshots.manifest import ManifestEntry, key_map
from snapshots.models import Snapshot
from snapshots.services import contents, entries
from tenants.scope import tenant_scope
from workflows.diff import WorkflowDiff, diff_workflows
from workflows.gateway import client_for
from workflows.models import Environment
from workflows.n8n.instance import InstanceMark, mark_from, read_mark
from workflows.upgrading import Effect, Side, UpgradeChange, Verdict, change_from, common_settings, judge

from .describing import SENTENCES_KEPT, Described
from .documents import Explanation
from .models import DriftAspect, N8nInstance, N8nUpgrade
from .severity import Grade, grade

if TYPE_CHECKING:
    from operations.engine import Run

logger = logging.getLogger(__name__)

CHUNK = 100
CHANGES_KEPT = 5000
#: Events that are asked whether they explain a drift; older ones were settled long ago.
EVENTS_ASKED = 10


def notice(run: Run | None, environment: Environment, snapshot: Snapshot | None = None) -> uuid.UUID | None:
    """See whether the n8n of an environment is another one than before; the event's id if it is, once and for all.

    ``snapshot`` is the one just taken. Call outside any scope. An n8n that cannot say what it is, is no failure.
    """
    try:
        return _notice(run, environment, snapshot)
    except Interrupted:
        raise
    except OpsError as error:
        logger.warning("the version of n8n could not be read: %s", error.message)
    except Exception:
        # Drift is looked for all the same; what was noticed is noticed again at the next look.
        logger.exception("an upgrade of n8n could not be recorded")
    return None


def _notice(run: Run | None, environment: Environment, snapshot: Snapshot | None) -> uuid.UUID | None:
    with _writing(run, environment.tenant_id):
        row = N8nInstance.objects.filter(environment_id=environment.pk).first()
        # Begun again after a crash: the event of this snapshot is there already.
        made = _event_of(snapshot) if snapshot is not None else None
    if made is not None:
        return made.pk
    known = mark_from(row.mark) if row is not None else InstanceMark()
    with client_for(environment) as client:
        found = read_mark(client, known)
        offers = client.spec().capabilities()
    if row is None or not found.is_another_than(known):
        _remember(run, environment, row, found, snapshot)
        return None
    changes = _changes(environment, row.snapshot_id, snapshot) if snapshot is not None else []
    with _writing(run, environment.tenant_id):
        event = _create_event(row, found, snapshot, changes)
        _store(environment, found, snapshot)
        Environment.objects.filter(pk=environment.pk).update(capabilities=offers, updated_at=clock.now())
        return event.pk


def _event_of(snapshot: Snapshot) -> N8nUpgrade | None:
    return N8nUpgrade.objects.filter(environment_id=snapshot.environment_id, after_snapshot_id=snapshot.pk).first()


def _create_event(
    before: N8nInstance, found: InstanceMark, snapshot: Snapshot | None, changes: Sequence[UpgradeChange]
) -> N8nUpgrade:
    known = mark_from(before.mark)
    return N8nUpgrade.objects.create(
        tenant_id=before.tenant_id,
        environment_id=before.environment_id,
        from_mark=known.to_dict(),
        to_mark=found.to_dict(),
        from_version=known.told,
        to_version=found.told,
        before_snapshot_id=before.snapshot_id,
        after_snapshot_id=snapshot.pk if snapshot is not None else None,
        last_seen_before_at=before.seen_at,
        noticed_at=clock.now(),
        changes=msgspec.to_builtins(changes[:CHANGES_KEPT]),
        by_n8n=sum(change.made_by == "n8n" for change in changes),
        by_people=sum(change.made_by == "people" for change in changes),
    )


def _remember(
    run: Run | None, environment: Environment, row: N8nInstance | None, found: InstanceMark, snapshot: Snapshot | None
) -> None:
    """Record which n8n is there; nothing is written where nothing is new."""
    known = mark_from(row.mark) if row is not None else InstanceMark()
    nothing_new = found in (known, InstanceMark()) and _says(environment, found)
    if row is not None and nothing_new and (snapshot is None or row.snapshot_id == snapshot.pk):
        return
    kept = found
    if known.version and not found.version:
        kept = InstanceMark(**{**found.to_dict(), "version": known.version})
    with _writing(run, environment.tenant_id):
        _store(environment, kept if kept != InstanceMark() else known, snapshot)


def _store(environment: Environment, found: InstanceMark, snapshot: Snapshot | None) -> None:
    values: dict[str, Any] = {"mark": found.to_dict(), "seen_at": clock.now()}
    if snapshot is not None:
        values["snapshot_id"] = snapshot.pk
    N8nInstance.objects.update_or_create(
        environment_id=environment.pk, defaults={"tenant_id": environment.tenant_id, **values}
    )
    if not _says(environment, found):
        Environment.objects.filter(pk=environment.pk).update(n8n_version=found.told[:32], updated_at=clock.now())


def _says(environment: Environment, found: InstanceMark) -> bool:
    """Whether the environment names the version that was noticed, as far as one was."""
    return not found.is_known or environment.n8n_version == found.told


@contextlib.contextmanager
def _writing(run: Run | None, tenant_id: uuid.UUID) -> Iterator[None]:
    if run is not None:
        with run.fenced():
            yield
    else:
        with tenant_scope(tenant_id):
            yield


# -- what differs between the snapshots -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Window:
    """Two snapshots around an upgrade, by key. ``callers`` are names, by the key of what they call."""

    environment: Environment
    before: Snapshot
    after: Snapshot
    old: Mapping[str, ManifestEntry]
    new: Mapping[str, ManifestEntry]
    callers: Mapping[str, list[str]]

    def changed(self) -> list[str]:
        keys = self.old.keys() | self.new.keys()
        return sorted(key for key in keys if _state(self.old.get(key)) != _state(self.new.get(key)))

    def callers_of(self, key: str) -> list[str]:
        return sorted(set(self.callers.get(key, ())))


def _state(entry: ManifestEntry | None) -> tuple[str | None, bool] | None:
    return (_hash(entry), entry.active) if entry is not None else None


def _hash(entry: ManifestEntry | None) -> str | None:
    return entry.content_hash or None if entry is not None else None


def _is_active(entry: ManifestEntry | None) -> bool:
    return entry is not None and entry.active


def _changes(environment: Environment, before_id: uuid.UUID | None, after: Snapshot) -> list[UpgradeChange]:
    """Every workflow that differs between the snapshots, n8n's own changes first."""
    with tenant_scope(environment.tenant_id):
        before = Snapshot.objects.filter(pk=before_id).first() if before_id else None
    if before is None or before.pk == after.pk:
        return []
    old, new = ({entry.key: entry for entry in entries(snapshot)} for snapshot in (before, after))
    window = _Window(environment, before, after, old, new, _callers(new.values()))
    changed = window.changed()
    everywhere = _everywhere(window) if len(changed) >= 3 else frozenset()
    found: list[UpgradeChange] = []
    for start in range(0, len(changed), CHUNK):
        found += _judged(window, changed[start : start + CHUNK], everywhere)
    return sorted(found, key=lambda change: (change.made_by != "n8n", change.name.lower(), change.key))


def _callers(found: Collection[ManifestEntry]) -> dict[str, list[str]]:
    """Key to the names of the workflows that call it."""
    key_of = {entry.env_workflow_id: entry.key for entry in found}
    callers: dict[str, list[str]] = {}
    for entry in found:
        for ref in entry.refs:
            if key_of.get(ref, entry.key) != entry.key:
                callers.setdefault(key_of[ref], []).append(entry.label)
    return callers


def _everywhere(window: _Window) -> frozenset[tuple[str, Any]]:
    """Settings that n8n has given to every workflow."""
    both = window.old.keys() & window.new.keys()
    before = {entry.key: content.get("settings") or {} for entry, content in contents(window.before, both)}
    return common_settings(
        [(before[entry.key], content.get("settings") or {}) for entry, content in contents(window.after, both)]
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """One workflow on both sides of an upgrade; None where it was not there."""

    old: ManifestEntry | None
    new: ManifestEntry | None
    old_content: dict[str, Any] | None
    new_content: dict[str, Any] | None


def _judged(window: _Window, keys: Sequence[str], everywhere: frozenset[tuple[str, Any]]) -> list[UpgradeChange]:
    old = {entry.key: content for entry, content in contents(window.before, [k for k in keys if k in window.old])}
    new = {entry.key: content for entry, content in contents(window.after, [k for k in keys if k in window.new])}
    ids_before, ids_after = key_map(window.old.values()), key_map(window.new.values())
    found = []
    for key in keys:
        pair = _Pair(window.old.get(key), window.new.get(key), old.get(key), new.get(key))
        verdict = _verdict(pair, window.callers_of(key), everywhere)
        effect: Effect | None = verdict.effect
        sentences = verdict.sentences
        if effect is None:
            diff = diff_workflows(pair.old_content, pair.new_content, before_keys=ids_before, after_keys=ids_after)
            effect = _graded(window.environment, pair, diff).severity  # type: ignore[assignment]
            sentences = (*sentences, *diff.sentences[:5])
        found.append(_change(key, pair, verdict, effect, sentences, window.callers_of(key)))
    return found


def _change(
    key: str,
    pair: _Pair,
    verdict: Verdict,
    effect: Effect | None,
    sentences: Sequence[str],
    callers: Sequence[str],
) -> UpgradeChange:
    entry = pair.new or pair.old
    return UpgradeChange(
        key=key,
        name=entry.label if entry is not None else key,
        made_by=verdict.made_by,
        rule=verdict.rule,
        effect=effect,  # type: ignore[arg-type]
        sentences=tuple(sentences),
        disabled=verdict.disabled,
        callers=tuple(callers[:20]),
        breaks=verdict.breaks,
        before_hash=_hash(pair.old),
        after_hash=_hash(pair.new),
        before_active=_is_active(pair.old),
        after_active=_is_active(pair.new),
    )


def _verdict(pair: _Pair, callers: Sequence[str], everywhere: frozenset[tuple[str, Any]]) -> Verdict:
    before, after = _side(pair.old, pair.old_content), _side(pair.new, pair.new_content)
    if before is None or after is None:
        sentence = "It came in between the two snapshots." if after else "It went away between the two snapshots."
        return Verdict(made_by="people", rule="edited", effect=None, sentences=(sentence,))
    return judge(before, after, callers=callers, everywhere=everywhere)


def _side(entry: ManifestEntry | None, content: dict[str, Any] | None) -> Side | None:
    if entry is None or content is None:
        return None
    return Side(content=content, active=entry.active, saved_at=entry.updated_at or "")


def _graded(environment: Environment, pair: _Pair, diff: WorkflowDiff) -> Grade:
    return grade(
        kind=_kind(pair),
        environment_kind=environment.kind,
        was_active=_is_active(pair.old),
        is_active=_is_active(pair.new),
        touches=diff.touches,
        counts=diff.summary,
    )


def _kind(pair: _Pair) -> str:
    """As in ``models.DriftKind``."""
    if pair.old is None:
        return "added"
    if pair.new is None:
        return "removed"
    return "activation" if _hash(pair.old) == _hash(pair.new) else "modified"


# -- what explains a drift --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explained:
    """The event and the change of it that explain a drift."""

    upgrade_id: uuid.UUID
    change: UpgradeChange
    version: str


class Attribution:
    """What recent upgrades of an environment explain; needs the tenant's scope to be made."""

    def __init__(self, environment: Environment) -> None:
        rows = N8nUpgrade.objects.filter(environment_id=environment.pk, by_n8n__gt=0).order_by("-noticed_at", "-pk")
        self._by_key: dict[str, list[Explained]] = {}
        for row in rows[:EVENTS_ASKED]:
            for data in row.changes:
                change = change_from(data)
                if change is not None and change.made_by == "n8n":
                    versions = f"{row.from_version} → {row.to_version}"
                    self._by_key.setdefault(change.key, []).append(Explained(row.pk, change, versions))

    def of(self, key: str, git: tuple[str | None, bool], env: tuple[str | None, bool]) -> Explained | None:
        """What made ``env`` (hash, active) of the approved ``git``: one change of n8n's, or a chain of them."""
        found: Explained | None = None
        wanted = env
        for explained in self._by_key.get(key, ()):
            change = explained.change
            if (change.after_hash, change.after_active) != wanted:
                continue
            found, wanted = found or explained, (change.before_hash, change.before_active)
            if wanted == git:
                return found
        return None


def attributed(described: Described, attribution: Attribution) -> Described:
    """The same drift as n8n's own doing, graded by its effect; unchanged where no upgrade explains it."""
    finding = described.finding
    if finding.aspect != DriftAspect.WORKFLOW:
        return described
    found = attribution.of(finding.key, (finding.git_hash, finding.was_active), (finding.env_hash, finding.is_active))
    if found is None:
        return described
    change, summary = found.change, described.details.diff_summary
    reasons = [f"n8n itself made this change when it was upgraded ({found.version}).", *change.sentences]
    details = msgspec.structs.replace(
        described.details,
        reasons=reasons,
        upgrade=Explanation(
            id=str(found.upgrade_id),
            versions=found.version,
            rule=change.rule,
            breaks=change.breaks,
            callers=list(change.callers),
        ),
        diff_summary=msgspec.structs.replace(
            summary, sentences=[*change.sentences, *summary.sentences][:SENTENCES_KEPT]
        ),
    )
    return replace(described, grade=Grade(change.effect, tuple(reasons)), details=details, upgrade_id=found.upgrade_id)
