"""What jobs of snapshots have come to, for people."""

from __future__ import annotations

from typing import Any

from core.wording import counted
from operations.summaries import JobLink, JobSummary

JSON = dict[str, Any]
RESTORED = (("created", "created"), ("updated", "changed"), ("deleted", "deleted"), ("failed", "failed"))


def captured(result: JSON) -> JobSummary:
    seen = counted(result.get("workflow_count", 0), "workflow")
    sentence = f"Captured {seen}"
    if found := result.get("findings"):
        sentence += f"; reading them back from Git found {counted(found, 'difference')}"
    return JobSummary(f"{sentence}.", _snapshots(result, ("Open snapshot", "snapshot_id")), seen)


def verified(result: JSON) -> JobSummary:
    whole = result.get("status") == "verified"
    read = counted(result.get("workflows", 0), "workflow")
    found = "every hash is equal" if whole else "not all are as captured"
    return JobSummary(f"Read {read} back from Git: {found}.", brief=found)


def packed(_result: JSON) -> JobSummary:
    return JobSummary("The Git store is packed.")


def pushed(result: JSON) -> JobSummary:
    if not result.get("remote"):
        return JobSummary("There is no remote to copy to.")
    moved = counted(len(result.get("moved", ())), "branch", "branches")
    return JobSummary(f"Copied to the remote: {moved} moved, {len(result.get('unchanged', ()))} unchanged.")


def restored(result: JSON) -> JobSummary:
    if result.get("dry_run"):
        return JobSummary("A rehearsal: nothing was written. See below what would be done.")
    counts = result.get("counts") or {}
    done = [f"{counts[name]:,} {word}" for name, word in RESTORED if counts.get(name)]
    sentence = f"Restored: {', '.join(done)}." if done else "Everything was as in the snapshot; nothing was written."
    if (proof := result.get("proof")) and proof.get("compared"):
        equal = "all equal to the snapshot by hash" if proof.get("equal") else "not all are equal to the snapshot"
        sentence += f" Read back: {equal}."
    links = _snapshots(result, ("Snapshot before", "pre_snapshot_id"), ("Snapshot after", "post_snapshot_id"))
    return JobSummary(sentence, links, ", ".join(done) or "nothing to write")


def put_back(result: JSON) -> JobSummary:
    left = len(result.get("conflicts", ()))
    sentence = f"{counted(len(result.get('put_back', ())), 'workflow')} put back"
    sentence += f", {left:,} left alone, as somebody changed them since." if left else "."
    return JobSummary(
        sentence, _snapshots(result, ("Snapshot before", "pre_snapshot_id"), ("Snapshot after", "post_snapshot_id"))
    )


def rehearsed(result: JSON) -> JobSummary:
    links = (JobLink("Open rehearsal", "rehearsal", result["rehearsal_id"]),) if result.get("rehearsal_id") else ()
    return JobSummary("Rehearsed on an n8n of its own.", links)


def relinked(result: JSON) -> JobSummary:
    moved = result.get("moved", True)
    return JobSummary("The approved content has its new name." if moved else "There was no approved content to move.")


def rehashed(result: JSON) -> JobSummary:
    sentence = f"{counted(result.get('rehashed', 0), 'hash', 'hashes')} made anew"
    if lost := len(result.get("unreadable", ())):
        sentence += f"; {counted(lost, 'content')} cannot be read from Git"
    return JobSummary(f"{sentence}.")


def _snapshots(result: JSON, *wanted: tuple[str, str]) -> tuple[JobLink, ...]:
    return tuple(JobLink(label, "snapshot", result[name]) for label, name in wanted if result.get(name))
