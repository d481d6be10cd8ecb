"""What jobs of drift have come to, for people."""

from __future__ import annotations

from typing import Any

from core.wording import counted, named
from operations.summaries import JobLink, JobSummary

JSON = dict[str, Any]
DRIFT = JobLink("Open drift", "drift")


def checked(result: JSON) -> JobSummary:
    if why := result.get("skipped"):
        return JobSummary(f"Not checked: {str(why).rstrip('.')}.")
    sentence = f"Looked at {counted(result.get('seen', 0), 'workflow')}: {result.get('drifted', 0):,} drifted"
    news = [f"{result[name]:,} {word}" for name, word in (("opened", "new"), ("closed", "gone")) if result.get(name)]
    told = f" ({', '.join(news)})" if news else ""
    return JobSummary(f"{sentence}{told}.", (DRIFT,), f"{result.get('drifted', 0):,} drifted{told}")


def stabilized(result: JSON) -> JobSummary:
    return _settled(result, "stabilized", "back to what is approved, read back and equal by hash")


def reconciled(result: JSON) -> JobSummary:
    return _settled(result, "reconciled", "approved as found")


def taken_back(result: JSON) -> JobSummary:
    sentence = f"The approval of {counted(len(result.get('taken_back', ())), 'workflow')} is withdrawn"
    if kept := len(result.get("conflicts", ())):
        sentence += f"; {kept:,} left alone, as something else was approved since"
    return JobSummary(f"{sentence}.", (DRIFT,))


def _settled(result: JSON, name: str, what: str) -> JobSummary:
    rows, failed = result.get(name, ()), result.get("failed", ())
    sentence = f"{named(_names(rows), 'workflow')} {what}" if rows else "Nothing was settled"
    if failed:
        sentence += f"; {named(_names(failed), 'workflow')} failed"
    links = [JobLink("Open incident", "drift-incident", rows[0]["incident_id"]) if len(rows) == 1 else DRIFT]
    if safety := result.get("safety_snapshot_id"):
        links.append(JobLink("Snapshot before", "snapshot", safety))
    told = [f"{sentence}.", *(str(warning.get("message", "")) for warning in result.get("warnings", ()))]
    return JobSummary(" ".join(told), tuple(links))


def _names(rows: list[JSON]) -> list[str]:
    return [str(row.get("name") or row.get("key", "")) for row in rows]
