"""n8n's words for the state of an execution, and what they mean to the console."""

from __future__ import annotations

#: It failed: the workflow stopped at an error, or n8n itself went down under it.
FAILED = ("error", "crashed")
#: It has not come to its end.
OPEN = ("new", "running", "waiting")
#: It has ended, whatever became of it.
ENDED = (*FAILED, "success", "canceled")
#: n8n's own word for what it knows nothing of any more.
UNKNOWN = "unknown"
ALL = (*ENDED, *OPEN, UNKNOWN)
#: What a list may be narrowed to: each status, and the two groups.
FILTERS: dict[str, tuple[str, ...]] = {
    "failed": FAILED,
    "open": OPEN,
    **{status: (status,) for status in ALL},
}
