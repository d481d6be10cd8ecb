"""What jobs of promotions have come to, for people. The promotion itself is the job's object."""

from __future__ import annotations

from typing import Any

from core.wording import counted, named
from operations.summaries import JobLink, JobSummary

JSON = dict[str, Any]


def promoted(result: JSON) -> JobSummary:
    found = result.get("snapshot_ids") or {}
    wanted = (("Snapshot before", found.get("pre_promotion")), ("Snapshot after", found.get("post_promotion")))
    links = tuple(JobLink(label, "snapshot", str(pk)) for label, pk in wanted if pk)
    moved = counted(result.get("workflows", 0), "workflow")
    return JobSummary(f"{moved} promoted, each read back.", links, moved)


def rolled_back(result: JSON) -> JobSummary:
    back = counted(result.get("workflows", 0), "workflow")
    return JobSummary(f"{back} as before the promotion, proven by hash.", brief=back)


def prepared(result: JSON) -> JobSummary:
    made = [str(row.get("name", "")) for row in result.get("made", ())]
    sentence = f"Created {named(made, 'object')} in the target."
    if todo := len(result.get("worklist", ())):
        sentence += f" {counted(todo, 'credential')} still {'needs its' if todo == 1 else 'need their'} secrets."
    for row in result.get("left", ()):
        sentence += f" Not “{row['name']}”: {row['why']}"
    if why := result.get("why_not"):
        sentence += f" The plan could not be made again: {why}"
    return JobSummary(sentence)


def credentials_tested(_result: JSON) -> JobSummary:
    return JobSummary("n8n tested the credentials; the promotion's gate shows what it said.")
