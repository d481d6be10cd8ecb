"""Faults on purpose: what goes wrong, on which call, how often."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset(
    {
        "latency",  # wait `seconds`, then go on as usual
        "status",  # answer `status` with `message` (JSON) and do nothing; 429 carries Retry-After
        "html",  # answer `status` with an HTML page and do nothing
        "drop_before",  # close the connection, nothing was done
        "drop_after",  # do it, then close the connection: the answer never arrives
        "status_after",  # do it, then answer `status` all the same
        "stall",  # do nothing and say nothing for `seconds`, then close the connection
        "partial",  # a write that ends half done, see `mode`
        "edit_before",  # somebody else edits (or deletes) a workflow just before this call is handled
        "edit_after",  # ... or just after it was handled
        "garbage",  # a 200 whose body is cut in the middle of the JSON
    }
)
PARTIAL_MODES = frozenset(
    {
        "lost_activation",  # content written, the workflow is left inactive, the answer is a 400
        "silent_inactive",  # the same, but the answer says that all is well
        "truncated_nodes",  # only the first half of the nodes is kept, the answer is a 500
        "lost_settings",  # nodes written, settings left as they were, the answer is a 500
    }
)


#: Keys that say on which calls a fault happens; all others are its parameters.
_MATCHING = frozenset(
    {"id", "kind", "method", "path", "nth", "after", "every", "times", "count", "probability", "seed"}
)
_PARAMETERS = frozenset(
    {"seconds", "status", "message", "retry_after", "mode", "workflow_id", "changes", "delete", "draft"}
)


class FaultError(ValueError):
    """The description of a fault makes no sense."""


@dataclass(slots=True)
class Fault:
    """One fault and the memory of how often it matched and fired.

    It fires on a matching call if the call's number (1-based, among matching calls) is in `nth` (or `nth` is empty),
    lies beyond `after`, is a multiple of `every`, the dice say so, and it has fired fewer than `times` times.
    """

    id: str
    kind: str
    methods: frozenset[str] = frozenset()
    path: re.Pattern[str] | None = None
    nth: frozenset[int] = frozenset()
    after: int = 0
    every: int = 1
    times: int | None = None
    probability: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    matched: int = 0
    fired: int = 0

    @classmethod
    def parse(cls, spec: Mapping[str, Any], *, fault_id: str) -> Fault:
        """Raises FaultError for an unknown kind, mode, key or pattern."""
        params = {key: value for key, value in spec.items() if key not in _MATCHING}
        kind = str(spec.get("kind", ""))
        _check(kind, params)
        times = spec.get("times", spec.get("count"))
        return cls(
            id=fault_id,
            kind=kind,
            methods=frozenset(word.upper() for word in _listed(spec.get("method"))),
            path=_pattern(spec.get("path")),
            nth=frozenset(_listed(spec.get("nth"))),
            after=int(spec.get("after", 0)),
            every=max(1, int(spec.get("every", 1))),
            times=None if times is None else int(times),
            probability=float(spec.get("probability", 1.0)),
            params=params,
            source=dict(spec),
            dice=random.Random(spec.get("seed", 0)),
        )

    def fires(self, method: str, path: str) -> bool:
        """Count this call, and say whether the fault happens on it. `path` starts after the instance's name."""
        if not self._matches(method, path):
            return False
        self.matched += 1
        if not self._is_due() or not self._chance():
            return False
        self.fired += 1
        return True

    def _matches(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and (self.path is None or bool(self.path.search(path)))

    def _is_due(self) -> bool:
        if self.nth and self.matched not in self.nth:
            return False
        if self.matched <= self.after or (self.matched - self.after) % self.every:
            return False
        return self.times is None or self.fired < self.times

    def _chance(self) -> bool:
        return self.probability >= 1 or self.dice.random() < self.probability

    def describe(self) -> dict[str, Any]:
        return {**self.source, "id": self.id, "matched": self.matched, "fired": self.fired}


def _check(kind: str, params: dict[str, Any]) -> None:
    """Raises FaultError for what makes no sense; fills in the mode of a partial write."""
    if kind not in KINDS:
        raise FaultError(f"kind must be one of {', '.join(sorted(KINDS))}")
    if unknown := sorted(params.keys() - _PARAMETERS):
        raise FaultError(f"unknown keys: {', '.join(unknown)}")
    if kind == "partial" and params.setdefault("mode", "lost_activation") not in PARTIAL_MODES:
        raise FaultError(f"mode must be one of {', '.join(sorted(PARTIAL_MODES))}")


def _listed(value: Any) -> list[Any]:
    """One thing or several, as a list."""
    if not value:
        return []
    return [value] if isinstance(value, str | int) else list(value)


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise FaultError(f"path is no regular expression: {error}") from error
