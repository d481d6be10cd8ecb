"""What jobs of environments and their executions have come to, for people."""

from __future__ import annotations

from typing import Any

from core.wording import counted
from operations.summaries import JobSummary

JSON = dict[str, Any]


def connection_tested(result: JSON) -> JobSummary:
    if not result.get("ok"):
        fault = result.get("fault") or {}
        why = fault.get("message") or "see the environment."
        return JobSummary(f"The connection does not hold: {why}", brief="it does not hold")
    brief = f"n8n {result.get('version', '')}, {result.get('latency_ms', 0):.0f} ms"
    return JobSummary(f"The connection holds: {brief}.", brief=brief)


def retried(result: JSON) -> JobSummary:
    sentence = f"{counted(result.get('retried', 0), 'execution')} retried, {result.get('succeeded', 0):,} succeeded"
    if refused := result.get("refused"):
        sentence += f", {refused:,} refused by n8n"
    return JobSummary(f"{sentence}.", brief=f"{result.get('succeeded', 0):,} succeeded")
