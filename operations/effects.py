"""What a write to the world outside is made of: an intent before it, a result after it, and a way to look."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe of an effect with an unknown outcome found."""

    state: str  # done | not_done | unknown
    result: Any = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def done(cls, result: Any = None) -> ProbeResult:
        return cls("done", result)

    @classmethod
    def not_done(cls) -> ProbeResult:
        return cls("not_done")

    @classmethod
    def unknown(cls, **details: Any) -> ProbeResult:
        return cls("unknown", None, details)


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    """What an effect does to an object elsewhere, which the trail tells as it tells a write of a row.

    ``action`` (CREATE, UPDATE or DELETE) counts where the result names no other outcome. ``sent`` (JSON) is what was
    asked for: hashes and switches, never contents, never secrets.
    """

    action: str
    resource_type: str
    resource_id: uuid.UUID | None
    sent: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExternalCall:
    """An effect on another system as the trail records it: on which object of ours, and by which call.

    ``system`` is n8n or git. ``facts`` (JSON) are the call, keys and hashes: never contents, never secrets. With
    ``write`` what was done is told once more, as a write of that object.
    """

    system: str
    resource_type: str
    resource_id: uuid.UUID | None = None
    name: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    write: ObjectWrite | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One write to the world outside.

    ``intent`` (JSON) is committed before ``act`` is called; ``look`` tells, after a crash or an answer that never
    came, whether it took place. With ``external_call`` both the intent and the outcome are in the trail as well,
    committed with the step's row.
    """

    name: str
    title: str
    intent: dict[str, Any]
    act: Callable[[], Any]
    look: Callable[[dict[str, Any]], ProbeResult]
    external_call: ExternalCall | None = None
