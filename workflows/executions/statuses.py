"""n8n's statuses of executions, grouped by what they mean to the console."""

from __future__ import annotations

#: It failed: the workflow stopped at an error, or n8n itself went down under it.
FAILED = ("error", "crashed")
#: It has not ended yet.
OPEN = ("new", "running", "waiting")
#: It has ended, successfully or not.
ENDED = (*FAILED, "success", "canceled")
#: n8n's own word for an execution that it has lost track of.
UNKNOWN = "unknown"
ALL = (*ENDED, *OPEN, UNKNOWN)
#: The filters of a list: each status, and the two groups.
FILTERS: dict[str, tuple[str, ...]] = {
    "failed": FAILED,
    "open": OPEN,
    **{status: (status,) for status in ALL},
}
