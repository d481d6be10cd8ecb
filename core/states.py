"""The vocabulary of states: one word, one shape and one colour for each, the same on every page.

A *look* is what a person sees (`drifted`); a *state* is what a row holds (`DRIFTED`, `retry_pending`).
Several states may share a look's shape and still have their own word. A state nobody has classified is drawn
as *unknown*, never as good.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.safestring import SafeString, mark_safe


class Look(NamedTuple):
    """How a state is drawn: `shape` names the mark, `tone` the colour, `word` what is read."""

    shape: str
    tone: str
    word: str


# Shapes are drawn in a 12 × 12 box in the current colour, so that the state can be told without colour.
_SHAPES: Final[dict[str, str]] = {
    "in-sync": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M3.6 6.2 5.3 7.9 8.5 4.3" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "differs": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 .75a5.25 5.25 0 0 1 0 10.5z" fill="currentColor"/>',
    "drifted": '<path d="M6 .3 11.7 6 6 11.7.3 6z" fill="currentColor"/>'
    '<path class="mark-cut" d="M6 3.2v3.4M6 8v1.2" fill="none" stroke-width="1.4"/>',
    "failed": '<path d="M3.6.5h4.8l3.1 3.1v4.8l-3.1 3.1H3.6L.5 8.4V3.6z" fill="currentColor"/>'
    '<path class="mark-cut" d="M4.1 4.1l3.8 3.8M7.9 4.1 4.1 7.9" fill="none" stroke-width="1.4"/>',
    "unknown": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" '
    'stroke-dasharray="2.1 2.03"/><path d="M4.6 4.8c0-2 2.9-1.9 2.9-.1C7.5 5.8 6 5.7 6 6.9M6 8.3v1" '
    'fill="none" stroke="currentColor" stroke-width="1.2"/>',
    "missing": '<rect x=".75" y=".75" width="10.5" height="10.5" rx="1.5" fill="none" stroke="currentColor" '
    'stroke-width="1.5" stroke-dasharray="2.6 1.9"/><path d="M3.5 6h5" stroke="currentColor" stroke-width="1.5"/>',
    "inactive": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M4.6 4v4M7.4 4v4" stroke="currentColor" stroke-width="1.5"/>',
    "pending": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 3.2V6l2 1.4" fill="none" stroke="currentColor" stroke-width="1.4"/>',
    "running": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-opacity=".3" '
    'stroke-width="1.5"/><path class="mark-spin" d="M6 .75A5.25 5.25 0 0 1 11.25 6" fill="none" '
    'stroke="currentColor" stroke-width="1.8"/><circle cx="6" cy="6" r="1.7" fill="currentColor"/>',
    "parked": '<rect x=".5" y=".5" width="11" height="11" rx="2.5" fill="currentColor"/>'
    '<path class="mark-cut" d="M4.5 9.2V3h2.1a1.8 1.8 0 0 1 0 3.6H4.5" fill="none" stroke-width="1.4"/>',
    "completed": '<circle cx="6" cy="6" r="6" fill="currentColor"/>'
    '<path class="mark-cut" d="M3.4 6.2 5.3 8.1 8.7 4.2" fill="none" stroke-width="1.5"/>',
    "cancelled": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M2.5 9.5l7-7" stroke="currentColor" stroke-width="1.5"/>',
    "open": '<circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<circle cx="6" cy="6" r="2.2" fill="currentColor"/>',
    "moved": '<path d="M1 4h8L6.8 1.8M11 8H3l2.2 2.2" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "added": '<path d="M6 1v10M1 6h10" fill="none" stroke="currentColor" stroke-width="2"/>',
    "removed": '<path d="M1 6h10" fill="none" stroke="currentColor" stroke-width="2"/>',
}

_GOOD, _BLUE, _WARN, _BAD, _GREY, _HELD = "good", "blue", "warn", "bad", "grey", "held"

# Looks by the state's normalized name (lower case, `-` for `_` and blanks).
LOOKS: Final[dict[str, Look]] = {
    "in-sync": Look("in-sync", _GOOD, "In sync"),
    "differs": Look("differs", _BLUE, "Differs"),
    "drifted": Look("drifted", _WARN, "Drifted"),
    "failed": Look("failed", _BAD, "Failed"),
    "unknown": Look("unknown", _GREY, "Unknown"),
    "missing": Look("missing", _GREY, "Missing"),
    "inactive": Look("inactive", _GREY, "Inactive"),
    "active": Look("in-sync", _GOOD, "Active"),
    "pending": Look("pending", _GREY, "Pending"),
    "running": Look("running", _BLUE, "Running"),
    "parked": Look("parked", _HELD, "Parked"),
    "completed": Look("completed", _GOOD, "Completed"),
    "cancelled": Look("cancelled", _GREY, "Cancelled"),
    # Operations and promotions.
    "retry-pending": Look("pending", _WARN, "Retry pending"),
    "queued": Look("pending", _GREY, "Queued"),
    "scheduled": Look("pending", _GREY, "Scheduled"),
    "draft": Look("pending", _GREY, "Draft"),
    "planned": Look("pending", _GREY, "Planned"),
    "awaiting-approval": Look("parked", _HELD, "Awaiting approval"),
    "pending-approval": Look("parked", _HELD, "Awaiting approval"),
    "approved": Look("in-sync", _GOOD, "Approved"),
    "rejected": Look("cancelled", _BAD, "Rejected"),
    "executing": Look("running", _BLUE, "Running"),
    "in-progress": Look("running", _BLUE, "In progress"),
    "rolling-back": Look("running", _WARN, "Rolling back"),
    "rolled-back": Look("moved", _WARN, "Rolled back"),
    "restored": Look("moved", _WARN, "Restored"),
    "compensated": Look("moved", _WARN, "Restored"),
    "compensating": Look("running", _WARN, "Restoring"),
    "stopped": Look("cancelled", _GREY, "Stopped"),
    "skipped": Look("inactive", _GREY, "Skipped"),
    "succeeded": Look("completed", _GOOD, "Succeeded"),
    "success": Look("completed", _GOOD, "Succeeded"),
    "done": Look("completed", _GOOD, "Done"),
    "passed": Look("completed", _GOOD, "Passed"),
    "warning": Look("drifted", _WARN, "Warning"),
    "blocked": Look("failed", _BAD, "Blocked"),
    "error": Look("failed", _BAD, "Error"),
    "conflict": Look("failed", _BAD, "Conflict"),
    # Incidents.
    "open": Look("open", _BAD, "Open"),
    "detected": Look("open", _BAD, "Detected"),
    "acknowledged": Look("open", _WARN, "Acknowledged"),
    "stabilized": Look("in-sync", _GOOD, "Stabilized"),
    "reconciled": Look("in-sync", _GOOD, "Reconciled"),
    "resolved": Look("in-sync", _GOOD, "Resolved"),
    "closed": Look("completed", _GREY, "Closed"),
    "expired": Look("cancelled", _GREY, "Expired"),
    "revoked": Look("cancelled", _GREY, "Revoked"),
    "ended": Look("completed", _GREY, "Ended"),
    # Mapping of workflows.
    "linked": Look("in-sync", _GOOD, "Linked"),
    "unmapped": Look("unknown", _WARN, "Unmapped"),
    "untracked": Look("unknown", _GREY, "Untracked"),
    "ignored": Look("inactive", _GREY, "Ignored"),
    "deleted": Look("missing", _GREY, "Deleted"),
    # Changes.
    "added": Look("added", _GOOD, "Added"),
    "created": Look("added", _GOOD, "Created"),
    "removed": Look("removed", _BAD, "Removed"),
    "changed": Look("differs", _BLUE, "Changed"),
    "updated": Look("differs", _BLUE, "Updated"),
    "moved": Look("moved", _GREY, "Moved"),
    "unchanged": Look("in-sync", _GREY, "Unchanged"),
    # Health.
    "up": Look("in-sync", _GOOD, "Up"),
    "ok": Look("in-sync", _GOOD, "OK"),
    "healthy": Look("in-sync", _GOOD, "Healthy"),
    "degraded": Look("drifted", _WARN, "Degraded"),
    "stale": Look("unknown", _WARN, "Stale"),
    "down": Look("failed", _BAD, "Down"),
    "unhealthy": Look("failed", _BAD, "Unhealthy"),
    "critical": Look("failed", _BAD, "Critical"),
    "high": Look("drifted", _BAD, "High"),
    "medium": Look("drifted", _WARN, "Medium"),
    "low": Look("open", _GREY, "Low"),
    "info": Look("open", _BLUE, "Info"),
}


def look(state: object) -> Look:
    """Return how `state` is drawn; a name not listed keeps its own word and gets the shape of *unknown*."""
    if state is None or state == "":
        return LOOKS["unknown"]
    raw = str(getattr(state, "value", state)).strip()
    key = raw.lower().replace("_", "-").replace(" ", "-")
    found = LOOKS.get(key)
    if found is not None:
        return found
    return Look("unknown", _GREY, raw.replace("_", " ").replace("-", " ").capitalize())


def mark(shape: str, *, size: int = 12) -> SafeString:
    """Return the mark as SVG, hidden from screen readers: the word beside it says the same."""
    body = _SHAPES.get(shape, _SHAPES["unknown"])
    return mark_safe(  # noqa: S308 -- both parts are constants of this module
        f'<svg class="mark" viewBox="0 0 12 12" width="{size}" height="{size}" aria-hidden="true">{body}</svg>'
    )
