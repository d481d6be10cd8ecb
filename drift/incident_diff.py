"""The two versions that an incident is about: what was approved and what was seen when it was found.

They are named by a commit and a snapshot, so that the incident shows the same after the environment has moved on.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import msgspec
from django.urls import reverse
from django.utils.http import urlencode

from core.errors import OpsError
from snapshots.sides import Side, approved_spec, load_side, snapshot_spec
from tenants.pages import Visit
from workflows.diff import WorkflowDiff, stored_diff
from workflows.presenters import DiffSide, TextOptions, diff_context, stored_context, three_way_context

from . import wording
from .models import DriftIncident, DriftKind

logger = logging.getLogger(__name__)


def specs_of(found: DriftIncident) -> tuple[str, str] | None:
    """Before and after, as addresses name them; None where one of them is not on record."""
    commit = found.details.commits.get("approved")
    if not commit or not found.snapshot_id:
        return None
    draft = found.kind == DriftKind.DRAFT
    slug = found.workflow_env_map.environment.slug
    return approved_spec(slug, commit, draft=draft), snapshot_spec(found.snapshot_id, draft=draft)


def context(visit: Visit, found: DriftIncident, view: str, text: TextOptions) -> dict[str, Any]:
    """What the incident's page draws of its difference. Outside any scope.

    In words it is what was stored when it was found, as it is where Git does not give both versions.
    """
    stored = _stored(found)
    shown = _in_words(found, stored) if view == "words" and stored is not None else _compared(visit, found, view, text)
    unreadable = shown is None
    if shown is None:
        shown = _in_words(found, stored) if stored is not None else {"view": "words"}
    told = set(shown["diff"].sentences) if "diff" in shown else set()
    return {
        **shown,
        **_since_then(visit, found),
        "unreadable": unreadable,
        "lead": [sentence for sentence in found.details.diff_summary.sentences if sentence not in told],
        "diff_query": "?",
        "versions_url": _versions_url(visit, found),
    }


def _stored(found: DriftIncident) -> WorkflowDiff | None:
    try:
        return stored_diff(found.details.full_diff)
    except msgspec.ValidationError:
        return None  # what changed was not the content, or it could not be read at the time


def _in_words(found: DriftIncident, stored: WorkflowDiff) -> dict[str, Any]:
    return stored_context(stored, *wording.sides(found))


def _compared(visit: Visit, found: DriftIncident, view: str, text: TextOptions) -> dict[str, Any] | None:
    sides = _sides(visit, found)
    if sides is None or (sides[0].content is None and sides[1].content is None):
        return None
    named = zip(sides, wording.sides(found), strict=True)
    left, right = (DiffSide(side.content, label + side.wherefrom, side.keys) for side, label in named)
    return diff_context(left, right, view=view, text=text)


def _since_then(visit: Visit, found: DriftIncident) -> dict[str, Any]:
    """While it stands and something else was approved since: what either side did from what was approved then."""
    environment, key = found.workflow_env_map.environment, found.workflow_env_map.canonical_workflow.key
    if not found.is_active or found.details.commits.get("approved") in (None, environment.baseline_commit_sha):
        return {}
    sides = _sides(visit, found)
    if sides is None or sides[0].content is None:
        return {}
    draft = found.kind == DriftKind.DRAFT
    now = load_side(visit, approved_spec(environment.slug, environment.baseline_commit_sha, draft=draft), key)
    base, seen, approved = (
        DiffSide(side.content, label, side.keys)
        for side, label in zip((*sides, now), (*wording.sides(found), "Approved now"), strict=True)
    )
    return three_way_context(base, seen, approved)


def _sides(visit: Visit, found: DriftIncident) -> tuple[Side, Side] | None:
    specs, key = specs_of(found), found.workflow_env_map.canonical_workflow.key
    if specs is None:
        return None
    try:
        left, right = (load_side(visit, spec, key) for spec in specs)
    except OpsError as error:
        logger.warning("the versions of an incident could not be read: %s", error.message)
        return None
    if found.kind == DriftKind.ADDED:
        left = replace(left, content=None)
    if found.kind == DriftKind.REMOVED:
        right = replace(right, content=None)
    return left, right


def _versions_url(visit: Visit, found: DriftIncident) -> str:
    specs, key = specs_of(found), found.workflow_env_map.canonical_workflow.key
    if specs is None:
        return ""
    there = reverse("workflow-diff", kwargs={"tenant_slug": visit.tenant.slug, "key": key})
    return f"{there}?{urlencode({'left': specs[0], 'right': specs[1]})}"
