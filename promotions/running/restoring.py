"""Restores workflows of a target from a snapshot, strictly first and then as much as can be restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import UnsetType

from core.errors import OpsError
from operations.engine import Run
from operations.errors import Interrupted
from snapshots import restore
from snapshots.models import Snapshot
from workflows.models import Environment
from workflows.n8n.client import N8nClient
from workflows.writes import Release

from .documents import RollbackRow, callers_by_key


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsToRestore:
    """``rows`` as they were found; those of ``keys`` get their content from the snapshot, ``delete`` (key to n8n id)
    are removed. ``release`` names it in n8n's own history."""

    rows: tuple[RollbackRow, ...]
    keys: tuple[str, ...]
    delete: Mapping[str, str]
    release: Release


def restore_rows(
    run: Run,
    client: N8nClient,
    wanted: RowsToRestore,
    *,
    target: Environment,
    snapshot: Snapshot,
    prefixes: tuple[str, str],
) -> None:
    """Restore them; where the first pass meets an edit or a refusal, the second restores the rest.

    ``prefixes`` are those of the steps of both passes. Over trouble that may pass it raises, unless this is the last
    attempt.
    """
    strict, tolerant = prefixes
    try:
        _restore(run, client, wanted, target=target, snapshot=snapshot, prefix=strict)
    except Interrupted:
        raise
    except OpsError as error:
        passing = getattr(error, "transient", False) or getattr(error, "ambiguous", False)
        if passing and not run.is_last_attempt:
            raise
        _restore(run, client, wanted, target=target, snapshot=snapshot, prefix=tolerant, tolerant=True)


def _restore(
    run: Run,
    client: N8nClient,
    wanted: RowsToRestore,
    *,
    target: Environment,
    snapshot: Snapshot,
    prefix: str,
    tolerant: bool = False,
) -> None:
    request = restore.RestoreRequest(
        environment=target,
        snapshot=snapshot,
        keys=list(wanted.keys),
        delete=dict(wanted.delete),
        prefix=prefix,
        expected={row.key: row.found_hash for row in wanted.rows},
        expected_drafts={row.key: {row.draft_hash} for row in wanted.rows if not isinstance(row.draft_hash, UnsetType)},
        keep_published=callers_by_key(wanted.rows),
        release=wanted.release,
        tolerant=tolerant,
    )
    restore.restore_into(run, request, client=client)
