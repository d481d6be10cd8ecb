"""Workflows that a restore neither writes nor deletes, because they could not be read. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .manifest import CaptureFinding
from .planning import RestorePlan
from .restore_documents import RestoreIssue

_CANNOT_BE_READ = "n8n's answer about it cannot be taken in now, so it could not be put back: it is left as it is."


def leave_alone(plan: RestorePlan, *, then: Mapping[str, CaptureFinding], now: Collection[str]) -> None:
    """Name what the snapshot does not hold though it was there (``then``, by key), and leave out what is not readable
    ``now`` (keys)."""
    chosen = plan.options.keys
    for key, finding in then.items():
        if chosen is None or key in chosen:
            message = f"“{finding.label}” was set aside when the snapshot was taken, and is left as it is."
            plan.warnings.append(RestoreIssue(code="set_aside", key=key, message=message, workflow_name=finding.name))
    for item in [item for item in plan.items if item.key in now]:
        plan.change(item.key, action="left_out", why=(_CANNOT_BE_READ,))
