"""Contents from Git: what is approved and what was seen, by key. Nothing here may run inside a scope."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import OpsError
from snapshots.models import Snapshot
from snapshots.services import canonical_content, contents, load_drafts
from tenants.scope import assert_no_scope, tenant_scope
from workflows.content import parse
from workflows.models import Environment

logger = logging.getLogger(__name__)

Content = dict[str, Any]


def approved(environment: Environment, keys: Iterable[str]) -> dict[str, Content]:
    """What ``env/<slug>`` holds of the named workflows; what it does not hold is left out."""
    assert_no_scope("Reading Git")
    wanted = list(keys)
    return canonical_content(environment, wanted) if wanted else {}


def seen(environment: Environment, snapshot_id: uuid.UUID | None, keys: Iterable[str]) -> dict[str, Content]:
    """What a snapshot holds of the named workflows; what it does not hold is left out."""
    assert_no_scope("Reading Git")
    wanted = list(keys)
    if not wanted or snapshot_id is None:
        return {}
    snapshot = _snapshot(environment, snapshot_id)
    if snapshot is None:
        return {}
    return {entry.key: content for entry, content in contents(snapshot, wanted)}


def approved_drafts(environment: Environment, keys: Iterable[str]) -> dict[str, Content]:
    """The drafts that ``env/<slug>`` holds beside the named workflows."""
    assert_no_scope("Reading Git")
    wanted = list(keys)
    return canonical_content(environment, wanted, drafts=True) if wanted else {}


def seen_drafts(environment: Environment, snapshot_id: uuid.UUID | None, keys: Iterable[str]) -> dict[str, Content]:
    """The drafts that a snapshot holds beside the named workflows."""
    assert_no_scope("Reading Git")
    wanted = list(keys)
    if not wanted or snapshot_id is None:
        return {}
    snapshot = _snapshot(environment, snapshot_id)
    if snapshot is None:
        return {}
    return {key: parse(data) for key, data in load_drafts(snapshot, wanted).items()}


def _snapshot(environment: Environment, snapshot_id: uuid.UUID) -> Snapshot | None:
    with tenant_scope(environment.tenant_id):
        return Snapshot.objects.filter(pk=snapshot_id, environment_id=environment.pk).first()


def tolerant(read: Any, *arguments: Any) -> dict[str, Content]:
    """``read`` with a failure of Git turned into 'nothing known': drift is reported all the same."""
    try:
        found: dict[str, Content] = read(*arguments)
        return found
    except OpsError as error:
        logger.warning("content for a drift could not be read: %s", error.message)
    except (OSError, KeyError, ValueError):
        logger.exception("content for a drift could not be read")
    return {}


def both(
    environment: Environment, snapshot_id: uuid.UUID | None, keys: Iterable[str]
) -> tuple[Mapping[str, Content], Mapping[str, Content]]:
    """Approved and seen contents by key, as far as they can be read."""
    wanted = list(keys)
    return tolerant(approved, environment, wanted), tolerant(seen, environment, snapshot_id, wanted)


def both_drafts(
    environment: Environment, snapshot_id: uuid.UUID | None, keys: Iterable[str]
) -> tuple[Mapping[str, Content], Mapping[str, Content]]:
    """What the editor should hold and what it holds, by key: the draft, or what runs where there is no draft."""
    wanted = list(keys)
    before, after = both(environment, snapshot_id, wanted)
    drafts = tolerant(approved_drafts, environment, wanted), tolerant(seen_drafts, environment, snapshot_id, wanted)
    return {**before, **drafts[0]}, {**after, **drafts[1]}
