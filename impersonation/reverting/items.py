"""One thing that a session did, what reverting it would come to, and how reverting it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from core.errors import OpsError
from operations.effects import ProbeResult
from operations.engine import Run
from tenants.models import User


class Verdict(StrEnum):
    """What reverting would come to, as far as can be known beforehand."""

    READY = "ready"  #: it is as the session left it
    CONFLICT = "conflict"  #: it is neither as before nor as the session left it
    UNDONE = "undone"  #: it is as before
    NOTHING = "nothing"  #: there is nothing to revert
    IMPOSSIBLE = "impossible"  #: not by the console; the item says what to do instead


WORDS = {
    Verdict.READY: ("added", "Can be reverted"),
    Verdict.CONFLICT: ("drifted", "Changed since"),
    Verdict.UNDONE: ("completed", "As before"),
    Verdict.NOTHING: ("inactive", "Nothing to revert"),
    Verdict.IMPOSSIBLE: ("unknown", "By hand"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One value three times: before the session, as it left it, and now; as text, '–' where there was none."""

    name: str
    before: str
    after: str
    now: str


@dataclass(frozen=True, slots=True)
class Item:
    """``id`` is ``<reverter>:<id of the thing>``; ``target`` (JSON) is what the reverter needs."""

    id: str
    kind: str
    name: str
    did: str
    verdict: Verdict
    why: str = ""
    url: str = ""
    facts: tuple[Fact, ...] = ()
    order: str = ""
    target: dict[str, Any] = field(default_factory=dict)

    @property
    def may_be_reverted(self) -> bool:
        return self.verdict in (Verdict.READY, Verdict.CONFLICT)

    @property
    def words(self) -> tuple[str, str]:
        """The mark and the word of the verdict."""
        return WORDS[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {**asdict(self), "verdict": str(self.verdict), "facts": [asdict(fact) for fact in self.facts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Item:
        facts = tuple(Fact(**fact) for fact in data["facts"])
        return cls(**{**data, "verdict": Verdict(data["verdict"]), "facts": facts})


class Reverter(Protocol):
    """Reverts one kind of thing."""

    name: str

    def revert(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        """Revert it; returns an ``outcome``. Without ``force`` a conflict is left alone."""
        ...

    def probe(self, run: Run, item: Item) -> ProbeResult:
        """Whether a revert that was interrupted took place."""
        ...


def person_of(run: Run) -> User:
    """Who asked for the revert: its writes are theirs."""
    with run.fenced():
        person = run.operation.requested_by
    if person is None:
        raise OpsError("Whoever asked for this is gone.", recovery="Start it again as somebody else.")
    return person


def outcome(what: str, message: str = "", *, code: str = "", job: str = "") -> dict[str, Any]:
    """How reverting an item ended: undone, already, conflict, failed or nothing; ``job`` is the id of its job."""
    found = {"outcome": what, "message": message, "code": code, "job": job}
    return {name: value for name, value in found.items() if value}
