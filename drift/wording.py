"""What one incident is, and what settling it does, in words; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workflows.calling import because_called

from .documents import DriftDetails
from .keeping import ABOUT_RUNNING
from .models import DriftIncident, DriftKind


@dataclass(frozen=True, slots=True)
class HashPair:
    """One line of what is compared: a value, or two that differ."""

    name: str
    approved: str
    seen: str


def kind_word(incident: DriftIncident) -> str:
    """The kind, with the direction it went."""
    if incident.kind == DriftKind.ARCHIVED:
        return "Archived" if incident.details.is_archived else "Unarchived"
    if incident.kind == DriftKind.ACTIVATION:
        return "Published" if incident.details.is_active else "Unpublished"
    return str(incident.get_kind_display())


def stabilizing(incident: DriftIncident, callers: Sequence[str] = ()) -> str:
    """What stabilizing this incident does in n8n. ``callers`` are those for which it stays published."""
    if callers:
        because = because_called(callers)
        if incident.kind in ABOUT_RUNNING:
            return f"It stays published, {because}. The drift stands until nothing that runs calls it."
        return f"{_STABILIZING[DriftKind.MODIFIED]} It stays published, {because}."
    sentence = _STABILIZING[DriftKind(incident.kind)]
    return sentence if isinstance(sentence, str) else sentence(incident.details)


def _stabilizing_archive(details: DriftDetails) -> str:
    if not details.is_archived:
        return "It is archived again, as approved, and does not run."
    if details.was_active:
        return "It is unarchived and published: it runs again."
    return "It is unarchived. It stays unpublished, as approved."


def _stabilizing_activation(details: DriftDetails) -> str:
    return "It is published: it runs again." if details.was_active else "It is unpublished: it no longer runs."


def _stabilizing_draft(details: DriftDetails) -> str:
    if details.git_draft_hash:
        return "The draft in the editor is replaced by the approved one. What runs is not touched."
    return "The draft in the editor is discarded: none is approved. What runs is not touched."


#: What stabilizing does, by kind: a sentence, or one that depends on the details.
_STABILIZING: Mapping[str, str | Callable[[DriftDetails], str]] = {
    DriftKind.MODIFIED: "Its approved content is written back; the edit is lost in n8n, and kept in a safety snapshot.",
    DriftKind.REMOVED: "It is created again with its approved content, under a new id; its callers follow.",
    DriftKind.ADDED: "It is unpublished, or deleted if you say so; a safety snapshot keeps it.",
    DriftKind.DETAILS: "Tags, folder and settings are written back as approved.",
    DriftKind.ARCHIVED: _stabilizing_archive,
    DriftKind.ACTIVATION: _stabilizing_activation,
    DriftKind.DRAFT: _stabilizing_draft,
}


def reconciling(incident: DriftIncident) -> str:
    """What reconciling this incident does."""
    return _RECONCILING[DriftKind(incident.kind)]


_RECONCILING = {
    DriftKind.MODIFIED: "What is there now becomes what is approved; n8n is not touched.",
    DriftKind.REMOVED: "It is no longer approved; n8n is not touched.",
    DriftKind.ADDED: "It becomes approved as it is; n8n is not touched.",
    DriftKind.ACTIVATION: "That it is published or unpublished becomes approved; n8n is not touched.",
    DriftKind.ARCHIVED: "That it is archived or not becomes approved; n8n is not touched.",
    DriftKind.DRAFT: "The draft becomes approved beside what runs; n8n is not touched.",
    DriftKind.DETAILS: "Tags, folder and settings become approved as they are; n8n is not touched.",
}


def standing_for(incident: DriftIncident) -> str:
    """Why the last stabilizing left it as it is; nothing where it did not."""
    kept = incident.details.kept
    if kept is None or not kept.callers:
        return ""
    return f"It stayed published, {because_called(kept.callers)}: this n8n runs only what is published."


def hashes(incident: DriftIncident) -> list[HashPair]:
    """Which hashes were compared: what runs, and the draft beside it where that is what drifted."""
    details = incident.details
    name = "What runs" if incident.kind == DriftKind.DRAFT else "Content"
    content = HashPair(name, details.git_content_hash or "", details.env_content_hash or "")
    if incident.kind != DriftKind.DRAFT:
        return [content]
    return [HashPair("Draft", details.git_draft_hash or "", details.env_draft_hash or ""), content]


def sides(incident: DriftIncident) -> tuple[str, str]:
    """Names of the two contents that are laid side by side."""
    if incident.kind != DriftKind.DRAFT:
        return "Approved", "Seen"
    return (
        "Approved draft" if incident.details.git_draft_hash else "Published",
        "Draft in the editor" if incident.details.env_draft_hash else "Published",
    )


def proof(incident: DriftIncident) -> str:
    """How it was proven that it is settled."""
    content = _EQUAL.get(DriftKind(incident.kind), "both hashes are equal")
    match incident.resolution_type:
        case "accepted":
            return "Accepted as it is; it is reported again when it changes."
        case "reconciled":
            return f"What is there is approved now: {content}."
        case "stabilized":
            found = incident.details.proof
            kept_for = found.kept_for if found is not None else None
            kept = f" It is still published, {because_called(kept_for)}." if kept_for else ""
            return f"It was written back and read back: {content}.{kept}"
        case _:
            return "It was settled as described below."


_EQUAL = {
    DriftKind.DRAFT: "the draft is as approved",
    DriftKind.ARCHIVED: "it is as approved",
    DriftKind.ACTIVATION: "it is as approved",
    DriftKind.DETAILS: "they are as approved",
}
