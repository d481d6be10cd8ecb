"""What one incident is, and what settling it does, in words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workflows.calling import because_called

from .keeping import ABOUT_RUNNING
from .models import DriftIncident, DriftKind


@dataclass(frozen=True, slots=True)
class Row:
    """One line of what is compared: a value, or two that differ."""

    name: str
    approved: str
    seen: str


def kind_word(incident: DriftIncident) -> str:
    """The kind, with the direction it went."""
    if incident.kind == DriftKind.ARCHIVED:
        return "Archived" if _is_archived(incident) else "Taken out of the archive"
    if incident.kind == DriftKind.ACTIVATION:
        return "Published" if incident.drift_snapshot.get("is_active") else "Unpublished"
    return str(incident.get_kind_display())


def stabilizing(incident: DriftIncident, callers: Sequence[str] = ()) -> str:
    """What stabilizing this incident does in n8n. ``callers`` are those for which it stays published."""
    if callers:
        because = because_called(callers)
        if incident.kind in ABOUT_RUNNING:
            return f"It stays published, {because}. The drift stands until nothing that runs calls it."
        return f"{_STABILIZING[DriftKind.MODIFIED]} It stays published, {because}."
    runs = bool(incident.drift_snapshot.get("was_active"))
    if incident.kind == DriftKind.ARCHIVED and _is_archived(incident):
        back = "It is taken out of the archive"
        return f"{back} and published: it runs again." if runs else f"{back}. It stays unpublished, as approved."
    if incident.kind == DriftKind.ARCHIVED:
        return "It is archived again, as approved, and does not run."
    if incident.kind == DriftKind.ACTIVATION:
        return "It is published: it runs again." if runs else "It is unpublished: it no longer runs."
    if incident.kind == DriftKind.DRAFT and incident.drift_snapshot.get("git_draft_hash"):
        return "The draft in the editor is replaced by the approved one. What runs is not touched."
    if incident.kind == DriftKind.DRAFT:
        return "The draft in the editor is discarded: none is approved. What runs is not touched."
    return _STABILIZING[DriftKind(incident.kind)]


_STABILIZING = {
    DriftKind.MODIFIED: "Its approved content is written back; the edit is lost in n8n, and kept in a safety snapshot.",
    DriftKind.REMOVED: "It is created anew with its approved content, under a new id; its callers follow.",
    DriftKind.ADDED: "It is unpublished, or deleted if you say so; a safety snapshot keeps it.",
    DriftKind.DETAILS: "Tags, folder and settings are put back as approved.",
}


def standing_for(incident: DriftIncident) -> str:
    """Why the last stabilizing left it as it is; nothing where it did not."""
    callers = (incident.drift_snapshot.get("kept") or {}).get("callers")
    return f"It stayed published, {because_called(callers)}: this n8n runs only what is published." if callers else ""


def hashes(incident: DriftIncident) -> list[Row]:
    """Which hashes were compared: what runs, and the draft beside it where that is what drifted."""
    told = incident.drift_snapshot
    name = "What runs" if incident.kind == DriftKind.DRAFT else "Content"
    content = Row(name, str(told.get("git_content_hash") or ""), str(told.get("env_content_hash") or ""))
    if incident.kind != DriftKind.DRAFT:
        return [content]
    return [Row("Draft", str(told.get("git_draft_hash") or ""), str(told.get("env_draft_hash") or "")), content]


def sides(incident: DriftIncident) -> tuple[str, str]:
    """Names of the two contents that are laid side by side."""
    if incident.kind != DriftKind.DRAFT:
        return "Approved", "Seen"
    told = incident.drift_snapshot
    return (
        "Approved draft" if told.get("git_draft_hash") else "Published",
        "Draft in the editor" if told.get("env_draft_hash") else "Published",
    )


def proof(incident: DriftIncident) -> str:
    """How it was proven that it is settled."""
    content = {
        DriftKind.DRAFT: "the draft is as approved",
        DriftKind.ARCHIVED: "it is as approved",
        DriftKind.ACTIVATION: "it is as approved",
        DriftKind.DETAILS: "they are as approved",
    }.get(DriftKind(incident.kind), "both hashes are equal")
    if incident.resolution_type == "accepted":
        return "Accepted as it is; it is reported again when it changes."
    if incident.resolution_type == "reconciled":
        return f"What is there is approved now: {content}."
    if incident.resolution_type == "stabilized":
        kept = (incident.drift_snapshot.get("proof") or {}).get("kept_for")
        told = f" It is still published, {because_called(kept)}." if kept else ""
        return f"It was put back and read back: {content}.{told}"
    return "It was settled as said below."


def _is_archived(incident: DriftIncident) -> bool:
    return any(
        one.get("name") == "archived" and one.get("after") for one in incident.drift_snapshot.get("details") or ()
    )
