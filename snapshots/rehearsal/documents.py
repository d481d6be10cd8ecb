"""What a rehearsal found, as versioned typed documents."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["refused", "differs", "changed", "fine", "not_tried"]
OUTCOMES: dict[str, str] = {
    "refused": "Refused",
    "differs": "Would run differently",
    "changed": "Changed when saved",
    "fine": "Fine",
    "not_tried": "Not tried",
}
ORDER = tuple(OUTCOMES)


class RehearsalFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a workflow would run differently. ``node`` is empty where the whole workflow is meant."""

    rule: str
    sentence: str
    way_out: str = ""
    node: str = ""


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """One workflow of a rehearsal. ``said`` are n8n's own words where it refused; ``changes`` what it made of it."""

    key: str
    name: str
    active: bool
    outcome: Outcome
    said: str = ""
    findings: tuple[RehearsalFinding, ...] = ()
    changes: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole rehearsal. ``notes`` hold for the instance and not for one workflow; ``seconds`` by phase."""

    format: int = 1
    from_version: str = ""
    to_version: str
    workflows: tuple[Rehearsed, ...] = ()
    notes: tuple[str, ...] = ()
    unknown_types: tuple[str, ...] = ()
    seconds: dict[str, float] = {}

    def counts(self) -> dict[str, int]:
        """How many workflows ended in each way."""
        return {name: sum(w.outcome == name for w in self.workflows) for name in ORDER}

    def to_dict(self) -> dict[str, Any]:
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def report_from(data: Any) -> Report | None:
    """A stored report; None where there is none, or none that can be read."""
    try:
        return msgspec.convert(data, Report) if data else None
    except msgspec.ValidationError:
        return None
