"""What an instance cannot give back of a workflow: residues as warnings, a refusal where nothing else is safe. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .planning import RestoreItem, RestorePlan
from .restore_documents import RestoreIssue


def check_facts(plan: RestorePlan, offers: Mapping[str, bool]) -> None:
    """Say what the instance cannot give back: residues as warnings, a refusal where nothing else is safe."""
    for item in plan.to_write:
        if message := _cannot_be_unarchived(item, offers):
            plan.problems.append(RestoreIssue(code="archived", key=item.key, message=message))
        for code, check in _FACT_CHECKS:
            if message := check(item, offers):
                plan.warnings.append(RestoreIssue(code=code, key=item.key, message=message))


def _cannot_be_unarchived(item: RestoreItem, offers: Mapping[str, bool]) -> str:
    current = item.current
    if current is None or not current.archived or item.entry.archived or offers.get("unarchive"):
        return ""
    return (
        f"“{item.label}” is archived in n8n, and this version cannot unarchive it by its API:"
        " unarchive it in n8n, or leave it out."
    )


def _cannot_be_archived(item: RestoreItem, offers: Mapping[str, bool]) -> str:
    is_archived = item.current is not None and item.current.archived
    if not item.entry.archived or is_archived or offers.get("archive"):
        return ""
    return f"“{item.label}” was archived; this version of n8n does not archive by its API: it stays unpublished."


def _cannot_be_moved(item: RestoreItem, offers: Mapping[str, bool]) -> str:
    there = item.current.folder if item.current is not None else None
    if item.entry.folder in (None, there) or offers.get("move_to_folder"):
        return ""
    return f"“{item.label}” lay in another folder; this n8n, or its licence, moves nothing there: it stays where it is."


def _draft_costs(item: RestoreItem, offers: Mapping[str, bool]) -> str:
    if item.entry.draft is None or offers.get("stage"):
        return ""
    if offers.get("activate_version"):
        return f"To restore the draft of “{item.label}”, this n8n unpublishes it briefly: calls meanwhile are lost."
    return f"This n8n keeps no draft beside what runs: that of “{item.label}” stays in Git."


def _was_only_a_draft(item: RestoreItem, offers: Mapping[str, bool]) -> str:
    if not item.entry.holds_only_the_draft:
        return ""
    return f"The snapshot holds only the draft of “{item.label}”; what ran then was another version that was not kept."


_FACT_CHECKS = (
    ("not_archived", _cannot_be_archived),
    ("folder", _cannot_be_moved),
    ("draft", _draft_costs),
    ("draft_only", _was_only_a_draft),
)
