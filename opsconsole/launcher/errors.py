"""Failures of the launcher, each with the way out."""

from __future__ import annotations


class LauncherError(Exception):
    """Something the person at the terminal can do something about.

    `recovery` says what, in one sentence or a few lines; `log` are the last lines of the log that shows the cause.
    """

    def __init__(self, message: str, *, recovery: str = "", log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.recovery = recovery
        self.log = log

    def __str__(self) -> str:
        parts = [self.message]
        if self.log:
            parts.append("\n".join(f"    | {line}" for line in self.log.splitlines()))
        if self.recovery:
            parts.append(f"Way out: {self.recovery}")
        return "\n".join(parts)
