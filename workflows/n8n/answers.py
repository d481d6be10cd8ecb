"""Reading what n8n answers: an object, a page of a list, the node by which an execution began."""

from __future__ import annotations

from typing import Any

from . import errors
from .http import Answer
from .listing import identified


def listed(answer: Answer) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of a list's page and the cursor of the next. Raises ``NotAnApi`` where it is none."""
    body = answer.json()
    items = body.get("data") if isinstance(body, dict) else None
    if not isinstance(items, list):
        raise errors.NotAnApi("The list does not look like n8n's.")
    cursor = body.get("nextCursor") or None
    if cursor is not None and not isinstance(cursor, str):
        raise errors.NotAnApi("The list does not look like n8n's.")
    return [i for i in items if isinstance(i, dict)], cursor


def single(answer: Answer, *, exact: bool = False) -> dict[str, Any]:
    """The object that was read; ``exact`` keeps a workflow's content to the byte. Raises ``NotAnApi``."""
    body = answer.json(exact=exact)
    if not isinstance(body, dict):
        raise errors.NotAnApi("The answer does not look like n8n's.")
    return identified(body) if exact and body.get("id") else body


def written(answer: Answer) -> dict[str, Any]:
    """The object that a write answers with. Raises ``AmbiguousWrite`` where it cannot be read."""
    try:
        return single(answer, exact=True)
    except (errors.NotAnApi, errors.TooLarge):
        raise errors.AmbiguousWrite("n8n's answer to the write cannot be read; it may have been carried out.") from None


def starting_node(data: Any) -> str:
    """The node by which an execution began, from its data; '' where that is not certain.

    From 2.x on n8n names the node; before, it is the only one without a source.
    """
    named = _inside(data, "executionData", "runtimeData", "triggerNode", "name")
    if isinstance(named, str):
        return named
    ran = _inside(data, "resultData", "runData")
    first = [name for name, runs in (ran.items() if isinstance(ran, dict) else ()) if _has_no_source(runs)]
    return first[0] if len(first) == 1 else ""


def _inside(held: Any, *names: str) -> Any:
    for name in names:
        held = held.get(name) if isinstance(held, dict) else None
    return held


def _has_no_source(runs: Any) -> bool:
    first = runs[0] if isinstance(runs, list) and runs else None
    return isinstance(first, dict) and not first.get("source")
