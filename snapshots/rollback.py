"""A restore that stops half-way is rolled back: contents from the snapshot before it, what it created deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from operations.engine import Run
from operations.models import OperationStep
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.writes import Archived, EditedMeanwhile, created_before, failures

from .contents import entries
from .manifest import ManifestEntry
from .models import Snapshot
from .restore import RestoreReport, restore_into
from .rewiring import rewired_by
from .write_items import RestoreRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """What is rolled back: the writes under ``forward_prefix``, to how it was in the snapshot ``before``.

    ``written`` is, by key, what was being written (content hashes): that, what ``before`` holds and what a broken-off
    write left may be overwritten; anything else is somebody's edit and is left alone. Of ``keep_published`` the
    content goes back and runs on.
    """

    environment: Environment
    before: Snapshot
    keys: Collection[str]
    written: Mapping[str, str | Collection[str]]
    forward_prefix: str
    keep_published: Collection[str] = ()


def roll_back(run: Run, back: RollBack, *, prefix: str, tolerant: bool) -> RestoreReport:
    """Undo what ``perform``/``restore_into`` did; steps are named ``<prefix>:…``. Not to be cancelled.

    With ``tolerant`` what somebody has edited, and what n8n refuses, is reported in ``report.failed``; else the first
    failure is raised.
    """
    before = {entry.key: entry for entry in entries(back.before)}
    traces = _traces(run, back.forward_prefix)
    # Something recreated because it had vanished meanwhile stays: deleting it would not bring the old id back.
    recreated = {key for key in traces.created if key in before}
    keys = {key for key in {*back.keys, *rewired_by(run, back.forward_prefix)} if key in before} | recreated
    request = RestoreRequest(
        environment=back.environment,
        prefix=prefix,
        snapshot=back.before,
        keys=keys,
        expected={key: _allowed(key, back, traces, before.get(key)) for key in {*keys, *traces.created}},
        expected_drafts=_known_drafts(run, back.forward_prefix, before, traces.intended),
        delete={key: workflow_id for key, workflow_id in traces.created.items() if key not in before},
        keep_published=back.keep_published,
        tolerant=tolerant,
    )
    with run.shielded():
        return restore_into(run, request)


@dataclass(frozen=True, slots=True)
class _Traces:
    """What our own writes have left, by key: the id of what they created, and the hashes that they may have brought.

    ``broken_off`` are hashes found after a write that did not come to its end, ``intended`` those on record before it.
    """

    created: Mapping[str, str]
    broken_off: Mapping[str, set[str]]
    intended: Mapping[str, set[str]]


def _traces(run: Run, forward_prefix: str) -> _Traces:
    created = {written.key: written.env_workflow_id for written in created_before(run, forward_prefix)}
    broken_off: dict[str, set[str]] = {}
    for key, error in failures(run, prefix=forward_prefix).items():
        details = error.get("details") or {}
        if error.get("code") in _BROKEN_OFF and details.get("found"):
            broken_off.setdefault(key, set()).add(str(details["found"]))
        if _says_created(details):
            created.setdefault(key, str(details["env_workflow_id"]))
    return _Traces(created, broken_off, _intended(run, forward_prefix))


_BROKEN_OFF = frozenset({"WRITE_002", "WRITE_004"})
"""Failures of which our own content may be what is there."""


def _says_created(details: Mapping[str, Any]) -> bool:
    is_created = details.get("created") or details.get("outcome") == "created"
    return bool(is_created and details.get("env_workflow_id"))


def _allowed(key: str, back: RollBack, traces: _Traces, entry: ManifestEntry | None) -> set[str]:
    """The content hashes that may be overwritten."""
    written = back.written.get(key) or ()
    found = {written} if isinstance(written, str) else set(written)
    found |= traces.intended.get(key, set()) | traces.broken_off.get(key, set())
    return found | {entry.content_hash} if entry is not None else found


def _intended(run: Run, forward_prefix: str) -> dict[str, set[str]]:
    """By key, the hashes that our own writes were about to bring: mended, or with another credential, as on record."""
    begun = OperationStep.objects.filter(operation_id=run.operation.pk, name__startswith=f"{forward_prefix}:")
    found: dict[str, set[str]] = {}
    with tenant_scope(run.tenant_id):
        for intent in begun.values_list("intent", flat=True):
            if isinstance(intent, dict) and intent.get("key") and intent.get("wanted_hash"):
                found.setdefault(str(intent["key"]), set()).add(str(intent["wanted_hash"]))
    return found


_REFUSED_UNTOUCHED = frozenset({EditedMeanwhile.code, Archived.code})
"""Failures that come before anything is written."""


def _known_drafts(
    run: Run, forward_prefix: str, before: Mapping[str, ManifestEntry], intended: Mapping[str, Iterable[str]]
) -> dict[str, Collection[str | None]]:
    """By key, the drafts that were there before or that our own finished writes have left; any, where one broke off."""
    start, done = f"{forward_prefix}:write:", run.done_steps()
    faults = failures(run, prefix=forward_prefix)
    known: dict[str, Collection[str | None]] = {}
    for key, entry in before.items():
        result = done[f"{start}{key}"].result if f"{start}{key}" in done else None
        if isinstance(result, dict):
            # What was about to be published may be the draft, where its own version could not be published.
            ours = {result.get("draft_hash") or None, result.get("leaves_draft") or None, *intended.get(key, ())}
            known[key] = {None, entry.draft_hash, *(ours if result.get("staged") else ())}
        elif not run.was_begun(f"{start}{key}") or (faults.get(key) or {}).get("code") in _REFUSED_UNTOUCHED:
            known[key] = {None, entry.draft_hash}
    return known
