"""The report of a connection test, as it is kept on the environment and answered by the API."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .scopes import MissingScope

REPORT_VERSION = 1

CheckState = Literal["ok", "failed", "warning", "skipped"]


class Check(msgspec.Struct, frozen=True):
    """One step of the test: its result in a sentence, and where it failed the error's code and the way out."""

    name: str = ""
    title: str = ""
    state: CheckState = "skipped"
    sentence: str = ""
    recovery: str = ""
    code: str = ""


class ConnectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The steps in order. ``ok``: nothing failed (there may be warnings), so captures can work.

    ``version`` is n8n's as far as it is published ("2.41.1", "2.35 or later"), empty where nothing tells it;
    ``latency_ms`` is that of one list call.
    """

    checks: tuple[Check, ...] = ()
    version: str = ""
    api_version: str = ""
    latency_ms: float | None = None
    capabilities: dict[str, bool] = {}
    missing_scopes: tuple[MissingScope, ...] = ()
    ok: bool = False
    report_version: int = REPORT_VERSION

    @property
    def fault(self) -> Check | None:
        """The first step that failed."""
        return next((check for check in self.checks if check.state == "failed"), None)

    def to_json(self) -> dict[str, Any]:
        """For ``Environment.connection_report``; ``read_report`` reads it."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored


def read_report(stored: Any) -> ConnectionReport | None:
    """A stored report of any version; None where there is none or it cannot be read.

    Reports from before versions were written have the same fields, without ``report_version``.
    """
    if not isinstance(stored, dict):
        return None
    try:
        return msgspec.convert(stored, ConnectionReport)
    except msgspec.ValidationError:
        return None
