"""How grave a drift is, and why. Pure: a table that can be read, tested and shown to the person who asks.

A drift has a base from what happened, raised by what the change touches and by what is live, lowered outside
production. ``grade`` returns the level with the sentences that led to it.

===========================================  ========
what happened                                base
===========================================  ========
a workflow that was active disappeared       high
an inactive workflow disappeared             medium
published or unpublished                     high
an active workflow appeared                  high
an inactive workflow appeared                low
content changed                              medium
content changed, names and notes only        low
content changed: credentials, trigger,
webhook, code, HTTP or who may call it       high
===========================================  ========

archived, and was published                   high
archived or unarchived otherwise             low
a setting that is not compared as content    medium
tags, folder or description                  low
only the draft, beside what runs             low

Production and active: one level up (at most critical). Production and inactive: as it is. Staging: at most high.
Development: one level down, at most medium. A draft runs nothing, and tags change nothing: those stay low. Places on
the canvas, notes and pinned data are no drift at all: they are not part of the hash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = ("low", "medium", "high", "critical")
GRAVE = {
    "credentials": "It changes which credentials are used.",
    "trigger": "It changes what starts the workflow.",
    "webhook": "It changes an address that others call.",
    "code": "It changes code that is run.",
    "http": "It changes calls to other systems.",
    "callers": "It changes who may call the workflow.",
}
#: Counts of a diff that say nothing about behaviour beyond a name.
HARMLESS = frozenset({"nodes_moved", "nodes_noted", "notes_changed", "name_changed", "tags_changed", "nodes_renamed"})


@dataclass(frozen=True, slots=True)
class Grade:
    """The level and the sentences that explain it."""

    severity: str
    reasons: tuple[str, ...]

    @property
    def rank(self) -> int:
        return LEVELS.index(self.severity)


def grade(
    *,
    kind: str,
    environment_kind: str,
    was_active: bool,
    is_active: bool,
    touches: Collection[str] = (),
    counts: Mapping[str, Any] | None = None,
    settings_changed: bool = False,
) -> Grade:
    """Judge one drift.

    ``kind`` as in ``models.DriftKind``. ``was_active`` is as approved, ``is_active`` as seen. ``touches`` and
    ``counts`` come from the diff; ``settings_changed``: a setting is among the details that changed.
    """
    if kind == "draft":
        return Grade(LEVELS[0], ("Only the draft in the editor differs; what runs is as approved.",))
    if kind == "details" and not settings_changed:
        return Grade(LEVELS[0], ("Tags, folder or description changed; nothing runs otherwise.",))
    level, reasons = _base(kind, was_active, is_active, touches, counts or {})
    level, reason = _in_environment(environment_kind, level, was_active, is_active)
    return Grade(LEVELS[max(0, min(level, 3))], (*reasons, reason))


def _in_environment(kind: str, level: int, was_active: bool, is_active: bool) -> tuple[int, str]:
    """The level in this kind of environment, and why."""
    if kind == "staging":
        return min(level, 2), "Staging counts at most as high."
    if kind != "production":
        return min(level - 1, 1), "Development counts one level lower."
    if is_active:
        return level + 1, "It is published in production: this is live traffic."
    if was_active:
        return level + 1, "It ran in production, and no longer does."
    return level, "It is in production, but does not run."


def _base(
    kind: str, was_active: bool, is_active: bool, touches: Collection[str], counts: Mapping[str, Any]
) -> tuple[int, tuple[str, ...]]:
    """The level of what happened, and why."""
    switched = "published" if is_active else "unpublished"
    match kind:
        case "removed" if was_active:
            return 2, ("An approved workflow that was published is gone.",)
        case "removed":
            return 1, ("An approved workflow is gone; it was not published.",)
        case "activation":
            return 2, (f"The workflow was {switched} outside the console.",)
        case "archived" if was_active:
            return 2, ("An approved workflow that ran was archived.",)
        case "archived":
            return 0, ("It did not run.",)
        case "details":
            return 1, ("A setting changed that the console does not know yet: it may change how the workflow runs.",)
        case "added" if is_active:
            return 2, ("A workflow that nobody approved is published.",)
        case "added":
            return 0, ("A workflow that nobody approved is there; it is not published.",)
    level, reasons = _content(touches, counts)
    if was_active != is_active:
        return max(level, 2), (*reasons, f"It was also {switched}.")
    return level, reasons


def _content(touches: Collection[str], counts: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """The level of a changed content, and why."""
    grave = tuple(GRAVE[name] for name in GRAVE if name in touches)
    if grave:
        return 2, grave
    if counts and set(counts) <= HARMLESS:
        return 0, ("Only names or notes changed.",)
    return 1, ("Content changed, away from credentials, triggers, webhooks, code and calls to other systems.",)
