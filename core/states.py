"""The vocabulary of states: one word, one shape and one colour for each, the same on every page.

A *look* is what a person sees (`drifted`); a *state* is what a row holds (`DRIFTED`, `retry_pending`).
Several states may share a look's shape and still have their own word. A state nobody has classified is drawn
as *unknown*, never as good.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.safestring import SafeString, mark_safe

from .declarations import Shape, Tone
from .registry import registry


class Look(NamedTuple):
    """How a state is drawn, and the word beside it."""

    shape: Shape
    tone: Tone
    word: str


# Shapes are drawn in a 12 × 12 box in the current colour, so that the state can be told without colour.
_SHAPES: Final[dict[Shape, str]] = {
    Shape.IN_SYNC: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M3.6 6.2 5.3 7.9 8.5 4.3" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    Shape.DIFFERS: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 .75a5.25 5.25 0 0 1 0 10.5z" fill="currentColor"/>',
    Shape.DRIFTED: '<path d="M6 .3 11.7 6 6 11.7.3 6z" fill="currentColor"/>'
    '<path class="mark-cut" d="M6 3.2v3.4M6 8v1.2" fill="none" stroke-width="1.4"/>',
    Shape.FAILED: '<path d="M3.6.5h4.8l3.1 3.1v4.8l-3.1 3.1H3.6L.5 8.4V3.6z" fill="currentColor"/>'
    '<path class="mark-cut" d="M4.1 4.1l3.8 3.8M7.9 4.1 4.1 7.9" fill="none" stroke-width="1.4"/>',
    Shape.UNKNOWN: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" '
    'stroke-dasharray="2.1 2.03"/><path d="M4.6 4.8c0-2 2.9-1.9 2.9-.1C7.5 5.8 6 5.7 6 6.9M6 8.3v1" '
    'fill="none" stroke="currentColor" stroke-width="1.2"/>',
    Shape.MISSING: '<rect x=".75" y=".75" width="10.5" height="10.5" rx="1.5" fill="none" stroke="currentColor" '
    'stroke-width="1.5" stroke-dasharray="2.6 1.9"/><path d="M3.5 6h5" stroke="currentColor" stroke-width="1.5"/>',
    Shape.INACTIVE: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M4.6 4v4M7.4 4v4" stroke="currentColor" stroke-width="1.5"/>',
    Shape.PENDING: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 3.2V6l2 1.4" fill="none" stroke="currentColor" stroke-width="1.4"/>',
    Shape.RUNNING: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-opacity=".3" '
    'stroke-width="1.5"/><path class="mark-spin" d="M6 .75A5.25 5.25 0 0 1 11.25 6" fill="none" '
    'stroke="currentColor" stroke-width="1.8"/><circle cx="6" cy="6" r="1.7" fill="currentColor"/>',
    Shape.PARKED: '<rect x=".5" y=".5" width="11" height="11" rx="2.5" fill="currentColor"/>'
    '<path class="mark-cut" d="M4.5 9.2V3h2.1a1.8 1.8 0 0 1 0 3.6H4.5" fill="none" stroke-width="1.4"/>',
    Shape.COMPLETED: '<circle cx="6" cy="6" r="6" fill="currentColor"/>'
    '<path class="mark-cut" d="M3.4 6.2 5.3 8.1 8.7 4.2" fill="none" stroke-width="1.5"/>',
    Shape.CANCELLED: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M2.5 9.5l7-7" stroke="currentColor" stroke-width="1.5"/>',
    Shape.OPEN: '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<circle cx="6" cy="6" r="2.2" fill="currentColor"/>',
    Shape.MOVED: '<path d="M1 4h8L6.8 1.8M11 8H3l2.2 2.2" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    Shape.ADDED: '<path d="M6 1v10M1 6h10" fill="none" stroke="currentColor" stroke-width="2"/>',
    Shape.REMOVED: '<path d="M1 6h10" fill="none" stroke="currentColor" stroke-width="2"/>',
}

# Looks that every app may use, by the state's normalized name (lower case, `-` for `_` and blanks). An app declares its
# own states (``core.declarations.State``).
LOOKS: Final[dict[str, Look]] = {
    "in-sync": Look(Shape.IN_SYNC, Tone.GOOD, "In sync"),
    "differs": Look(Shape.DIFFERS, Tone.BLUE, "Differs"),
    "drifted": Look(Shape.DRIFTED, Tone.WARN, "Drifted"),
    "failed": Look(Shape.FAILED, Tone.BAD, "Failed"),
    "unknown": Look(Shape.UNKNOWN, Tone.GREY, "Unknown"),
    "missing": Look(Shape.MISSING, Tone.GREY, "Missing"),
    "inactive": Look(Shape.INACTIVE, Tone.GREY, "Inactive"),
    "active": Look(Shape.IN_SYNC, Tone.GOOD, "Active"),
    "pending": Look(Shape.PENDING, Tone.GREY, "Pending"),
    "running": Look(Shape.RUNNING, Tone.BLUE, "Running"),
    "parked": Look(Shape.PARKED, Tone.HELD, "Parked"),
    "completed": Look(Shape.COMPLETED, Tone.GOOD, "Completed"),
    "cancelled": Look(Shape.CANCELLED, Tone.GREY, "Cancelled"),
    # Work and its outcome.
    "scheduled": Look(Shape.PENDING, Tone.GREY, "Scheduled"),
    "draft": Look(Shape.PENDING, Tone.GREY, "Draft"),
    "approved": Look(Shape.IN_SYNC, Tone.GOOD, "Approved"),
    "rejected": Look(Shape.CANCELLED, Tone.BAD, "Rejected"),
    "skipped": Look(Shape.INACTIVE, Tone.GREY, "Skipped"),
    "succeeded": Look(Shape.COMPLETED, Tone.GOOD, "Succeeded"),
    "success": Look(Shape.COMPLETED, Tone.GOOD, "Succeeded"),
    "done": Look(Shape.COMPLETED, Tone.GOOD, "Done"),
    "passed": Look(Shape.COMPLETED, Tone.GOOD, "Passed"),
    "warning": Look(Shape.DRIFTED, Tone.WARN, "Warning"),
    "blocked": Look(Shape.FAILED, Tone.BAD, "Blocked"),
    "error": Look(Shape.FAILED, Tone.BAD, "Error"),
    "conflict": Look(Shape.FAILED, Tone.BAD, "Conflict"),
    "open": Look(Shape.OPEN, Tone.BAD, "Open"),
    "closed": Look(Shape.COMPLETED, Tone.GREY, "Closed"),
    "expired": Look(Shape.CANCELLED, Tone.GREY, "Expired"),
    "deleted": Look(Shape.MISSING, Tone.GREY, "Deleted"),
    # Changes.
    "added": Look(Shape.ADDED, Tone.GOOD, "Added"),
    "created": Look(Shape.ADDED, Tone.GOOD, "Created"),
    "removed": Look(Shape.REMOVED, Tone.BAD, "Removed"),
    "changed": Look(Shape.DIFFERS, Tone.BLUE, "Changed"),
    "updated": Look(Shape.DIFFERS, Tone.BLUE, "Updated"),
    "moved": Look(Shape.MOVED, Tone.GREY, "Moved"),
    "unchanged": Look(Shape.IN_SYNC, Tone.GREY, "Unchanged"),
    # Health.
    "up": Look(Shape.IN_SYNC, Tone.GOOD, "Up"),
    "ok": Look(Shape.IN_SYNC, Tone.GOOD, "OK"),
    "healthy": Look(Shape.IN_SYNC, Tone.GOOD, "Healthy"),
    "degraded": Look(Shape.DRIFTED, Tone.WARN, "Degraded"),
    "stale": Look(Shape.UNKNOWN, Tone.WARN, "Stale"),
    "down": Look(Shape.FAILED, Tone.BAD, "Down"),
    "unhealthy": Look(Shape.FAILED, Tone.BAD, "Unhealthy"),
    "critical": Look(Shape.FAILED, Tone.BAD, "Critical"),
    "high": Look(Shape.DRIFTED, Tone.BAD, "High"),
    "medium": Look(Shape.DRIFTED, Tone.WARN, "Medium"),
    "low": Look(Shape.OPEN, Tone.GREY, "Low"),
    "info": Look(Shape.OPEN, Tone.BLUE, "Info"),
}


def all_looks() -> dict[str, Look]:
    """The looks that every app may use, and those of the states that the apps declare."""
    return LOOKS | {state.name: Look(state.shape, state.tone, state.word) for state in registry.states().values()}


def normalized(state: object) -> str:
    """The name of a state in lower case, with `-` for `_` and blanks."""
    raw = str(getattr(state, "value", state)).strip()
    return raw.lower().replace("_", "-").replace(" ", "-")


def look(state: object) -> Look:
    """Return how `state` is drawn; a name not listed keeps its own word and gets the shape of *unknown*."""
    if state is None or state == "":
        return LOOKS["unknown"]
    name = normalized(state)
    if found := LOOKS.get(name):
        return found
    if declared := registry.states().get(name):
        return Look(declared.shape, declared.tone, declared.word)
    return Look(Shape.UNKNOWN, Tone.GREY, name.replace("-", " ").capitalize())


def mark(shape: Shape, *, size: int = 12) -> SafeString:
    """Return the mark as SVG, hidden from screen readers: the word beside it says the same."""
    body = _SHAPES[shape]
    return mark_safe(  # noqa: S308 -- both parts are constants of this module
        f'<svg class="mark" viewBox="0 0 12 12" width="{size}" height="{size}" aria-hidden="true">{body}</svg>'
    )
