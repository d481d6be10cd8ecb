"""Upgrades of n8n: noticed when an environment is looked at, one event each, with what n8n itself changed.

An event compares the last snapshot of the n8n that was with the first of the n8n that is. What n8n made (see
``workflows.upgrading``) is attributed to the event wherever it shows as drift, at this look or at a later one; what
people made in the same window is drift as ever.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from core import clock
from core.errors import OpsError
from operations.errors import Interrupted
from snapshots.models import Snapshot
from snapshots.services import entries_of, load_content
from tenants.scope import tenant_scope
from workflows.diff import diff_workflows
from workflows.gateway import client_for
from workflows.models import Environment
from workflows.n8n.instance import InstanceMark, mark_from, read_mark
from workflows.upgrading import Side, UpgradeChange, Verdict, change_from, common_settings, judge

from .describing import Described
from .models import DriftAspect, N8nInstance, N8nUpgrade
from .severity import Grade, grade

if TYPE_CHECKING:
    from operations.engine import Run

logger = logging.getLogger(__name__)

CHUNK = 100
CHANGES_KEPT = 5000
#: Events that are asked whether they explain a drift; older ones were settled long ago.
EVENTS_ASKED = 10

Entry = Mapping[str, Any]


def notice(run: Run | None, environment: Environment, snapshot: Snapshot | None = None) -> uuid.UUID | None:
    """See whether the n8n of an environment is another one than before; the event's id if it is, once and for all.

    ``snapshot`` is the one just taken. Call outside any scope. An n8n that cannot say what it is, is no failure.
    """
    try:
        return _notice(run, environment, snapshot)
    except Interrupted:
        raise
    except OpsError as error:
        logger.warning("could not look which n8n answers: %s", error.message)
    except Exception:
        # Drift is looked for all the same; what was noticed is noticed again at the next look.
        logger.exception("an upgrade of n8n could not be taken down")
    return None


def _notice(run: Run | None, environment: Environment, snapshot: Snapshot | None) -> uuid.UUID | None:
    with _writing(run, environment.tenant_id):
        row = N8nInstance.objects.filter(environment_id=environment.pk).first()
        if snapshot is not None:
            # Begun again after a crash: the event of this snapshot is there already.
            made = N8nUpgrade.objects.filter(environment_id=environment.pk, after_snapshot_id=snapshot.pk).first()
            if made is not None:
                return made.pk
    known = mark_from(row.mark) if row is not None else InstanceMark()
    with client_for(environment) as client:
        mark = read_mark(client, known)
        offers = client.spec().capabilities()
    if row is None or not mark.is_another_than(known):
        _remember(run, environment, row, mark, known, snapshot)
        return None
    changes = _changes(environment, row.snapshot_id, snapshot) if snapshot is not None else []
    with _writing(run, environment.tenant_id):
        event = N8nUpgrade.objects.create(
            tenant_id=environment.tenant_id,
            environment_id=environment.pk,
            from_mark=known.to_dict(),
            to_mark=mark.to_dict(),
            from_version=known.told,
            to_version=mark.told,
            before_snapshot_id=row.snapshot_id,
            after_snapshot_id=snapshot.pk if snapshot is not None else None,
            last_seen_before_at=row.seen_at,
            noticed_at=clock.now(),
            changes=[_builtins(change) for change in changes[:CHANGES_KEPT]],
            by_n8n=sum(change.made_by == "n8n" for change in changes),
            by_people=sum(change.made_by == "people" for change in changes),
        )
        _store(environment, mark, snapshot)
        Environment.objects.filter(pk=environment.pk).update(capabilities=offers, updated_at=clock.now())
        return event.pk


def _remember(
    run: Run | None,
    environment: Environment,
    row: N8nInstance | None,
    mark: InstanceMark,
    known: InstanceMark,
    snapshot: Snapshot | None,
) -> None:
    """Take down what is there; nothing is written where nothing is new."""
    nothing_new = mark in (known, InstanceMark()) and _says(environment, mark)
    if row is not None and nothing_new and (snapshot is None or row.snapshot_id == snapshot.pk):
        return
    told = mark
    if known.version and not mark.version:
        told = InstanceMark(**{**mark.to_dict(), "version": known.version})
    with _writing(run, environment.tenant_id):
        _store(environment, told if told != InstanceMark() else known, snapshot)


def _store(environment: Environment, mark: InstanceMark, snapshot: Snapshot | None) -> None:
    values: dict[str, Any] = {"mark": mark.to_dict(), "seen_at": clock.now()}
    if snapshot is not None:
        values["snapshot_id"] = snapshot.pk
    N8nInstance.objects.update_or_create(
        environment_id=environment.pk, defaults={"tenant_id": environment.tenant_id, **values}
    )
    if not _says(environment, mark):
        Environment.objects.filter(pk=environment.pk).update(n8n_version=mark.told[:32], updated_at=clock.now())


def _says(environment: Environment, mark: InstanceMark) -> bool:
    """Whether the environment names the version that was noticed, as far as one was."""
    return not mark.is_known or environment.n8n_version == mark.told


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
    """Two snapshots around an upgrade, by key."""

    environment: Environment
    before: Snapshot
    after: Snapshot
    old: Mapping[str, Entry]
    new: Mapping[str, Entry]
    callers: dict[str, list[str]]

    def changed(self) -> list[str]:
        keys = self.old.keys() | self.new.keys()
        return sorted(key for key in keys if _state(self.old.get(key)) != _state(self.new.get(key)))


def _state(entry: Entry | None) -> tuple[Any, ...] | None:
    return None if entry is None else (entry.get("content_hash"), bool(entry.get("active")))


def _changes(environment: Environment, before_id: uuid.UUID | None, after: Snapshot) -> list[UpgradeChange]:
    """Every workflow that differs between the snapshots, n8n's own changes first."""
    with tenant_scope(environment.tenant_id):
        before = Snapshot.objects.filter(pk=before_id).first() if before_id else None
    if before is None or before.pk == after.pk:
        return []
    old = {str(e["key"]): e for e in entries_of(before)}
    new = {str(e["key"]): e for e in entries_of(after)}
    window = _Window(environment, before, after, old, new, _callers(new))
    changed = window.changed()
    everywhere = _everywhere(window) if len(changed) >= 3 else frozenset()
    found: list[UpgradeChange] = []
    for start in range(0, len(changed), CHUNK):
        found += _judged(window, changed[start : start + CHUNK], everywhere)
    return sorted(found, key=lambda change: (change.made_by != "n8n", change.name.lower(), change.key))


def _callers(entries: Mapping[str, Entry]) -> dict[str, list[str]]:
    """Key to the names of the workflows that call it."""
    key_of = {str(e.get("env_workflow_id")): key for key, e in entries.items()}
    found: dict[str, list[str]] = {}
    for entry in entries.values():
        for ref in entry.get("refs") or ():
            if ref in key_of and key_of[ref] != entry["key"]:
                found.setdefault(key_of[ref], []).append(str(entry.get("name") or entry["key"]))
    return found


def _everywhere(window: _Window) -> frozenset[tuple[str, Any]]:
    both = window.old.keys() & window.new.keys()
    before = {str(e["key"]): c.get("settings") or {} for e, c in load_content(window.before, both)}
    return common_settings(
        [(before[str(e["key"])], c.get("settings") or {}) for e, c in load_content(window.after, both)]
    )


def _judged(window: _Window, keys: Sequence[str], everywhere: frozenset[tuple[str, Any]]) -> list[UpgradeChange]:
    old = {str(e["key"]): c for e, c in load_content(window.before, [k for k in keys if k in window.old])}
    new = {str(e["key"]): c for e, c in load_content(window.after, [k for k in keys if k in window.new])}
    ids_before = {str(e.get("env_workflow_id")): key for key, e in window.old.items()}
    ids_after = {str(e.get("env_workflow_id")): key for key, e in window.new.items()}
    found = []
    for key in keys:
        entry = window.new.get(key) or window.old[key]
        callers = sorted(set(window.callers.get(key, ())))
        verdict = _verdict(window, key, old, new, callers, everywhere)
        effect: str | None = verdict.effect
        told = verdict.sentences
        if effect is None:
            diff = diff_workflows(old.get(key), new.get(key), before_keys=ids_before, after_keys=ids_after)
            effect = _graded(window, key, diff.touches, diff.summary).severity
            told = (*told, *diff.sentences[:5])
        found.append(
            UpgradeChange(
                key=key,
                name=str(entry.get("name") or key),
                made_by=verdict.made_by,
                rule=verdict.rule,
                effect=effect,  # type: ignore[arg-type]
                sentences=told,
                disabled=verdict.disabled,
                callers=tuple(callers[:20]),
                breaks=verdict.breaks,
                before_hash=_hash(window.old.get(key)),
                after_hash=_hash(window.new.get(key)),
                before_active=bool((window.old.get(key) or {}).get("active")),
                after_active=bool((window.new.get(key) or {}).get("active")),
            )
        )
    return found


def _verdict(
    window: _Window,
    key: str,
    old: Mapping[str, dict[str, Any]],
    new: Mapping[str, dict[str, Any]],
    callers: Sequence[str],
    everywhere: frozenset[tuple[str, Any]],
) -> Verdict:
    if key not in old or key not in new:
        told = "It came in between the two snapshots." if key in new else "It went away between the two snapshots."
        return Verdict(made_by="people", rule="edited", effect=None, sentences=(told,))
    sides = [
        Side(content=content[key], active=bool(entry.get("active")), saved_at=str(entry.get("updated_at") or ""))
        for content, entry in ((old, window.old[key]), (new, window.new[key]))
    ]
    return judge(sides[0], sides[1], callers=callers, everywhere=everywhere)


def _graded(window: _Window, key: str, touches: Sequence[str], counts: Mapping[str, Any]) -> Grade:
    before, after = window.old.get(key), window.new.get(key)
    kind = "added" if before is None else "removed" if after is None else "modified"
    if kind == "modified" and _hash(before) == _hash(after):
        kind = "activation"
    return grade(
        kind=kind,
        environment_kind=window.environment.kind,
        was_active=bool((before or {}).get("active")),
        is_active=bool((after or {}).get("active")),
        touches=touches,
        counts=counts,
    )


def _hash(entry: Entry | None) -> str | None:
    return str(entry["content_hash"]) if entry is not None and entry.get("content_hash") else None


def _builtins(change: UpgradeChange) -> dict[str, Any]:
    return msgspec.to_builtins(change)  # type: ignore[no-any-return]


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
                    told = f"{row.from_version} → {row.to_version}"
                    self._by_key.setdefault(change.key, []).append(Explained(row.pk, change, told))

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
    change = found.change
    reasons = [f"n8n itself made this change when it was upgraded ({found.version}).", *change.sentences]
    snapshot = {
        **described.drift_snapshot,
        "reasons": reasons,
        "upgrade": {
            "id": str(found.upgrade_id),
            "versions": found.version,
            "rule": change.rule,
            "breaks": change.breaks,
            "callers": list(change.callers),
        },
    }
    summary = dict(snapshot["diff_summary"])
    summary["sentences"] = [*change.sentences, *summary["sentences"]][:40]
    snapshot["diff_summary"] = summary
    return replace(
        described,
        grade=Grade(change.effect, tuple(reasons)),
        drift_snapshot=snapshot,
        upgrade_id=found.upgrade_id,
    )
