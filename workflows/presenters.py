"""What pages show of differences and reports; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.safestring import mark_safe

from .content import dump, normalize
from .diff import WorkflowDiff, diff_workflows
from .graph import render_diff_svg, render_svg
from .masking import mask

RAW_LIMIT = 400_000
"""Characters of raw JSON a page shows at most on one side."""


def diff_context(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    left_label: str,
    right_label: str,
    *,
    before_keys: Mapping[str, str] | None = None,
    after_keys: Mapping[str, str] | None = None,
    view: str = "graph",
    across: bool = False,
) -> dict[str, Any]:
    """The context of ``workflows/_diff.html``: two portable workflows, None for 'does not exist'.

    ``view`` is graph (overlay beside the list of changes), raw (both sides as JSON) or behaviour (both sides as they
    are compared). The graph is drawn only for the first. ``across``: the sides are two environments.
    """
    diff = diff_workflows(before, after, before_keys=before_keys, after_keys=after_keys, across=across)
    context: dict[str, Any] = {
        "diff": diff,
        "left_label": left_label,
        "right_label": right_label,
        "view": view if view in ("graph", "raw", "behaviour") else "graph",
        "sentences": diff.sentences,
        "behaviour": [change for change in diff.changes if change.behaviour],
        "cosmetic": [change for change in diff.changes if not change.behaviour],
        "one_sided": before is None or after is None,
    }
    if context["view"] == "graph":
        context["graph"] = diff_svg(before, after, diff, left_label, right_label)
    elif context["view"] == "raw":
        context["left_raw"], context["right_raw"] = raw_text(before), raw_text(after)
    else:
        context["left_raw"] = raw_text(normalize(before, before_keys)) if before is not None else ""
        context["right_raw"] = raw_text(normalize(after, after_keys)) if after is not None else ""
    return context


def diff_svg(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    diff: WorkflowDiff,
    left_label: str,
    right_label: str,
) -> str:
    """The overlay as safe SVG (made by us, every text escaped)."""
    if before is None and after is None:
        return ""
    title = f"{diff.name or 'Workflow'}: {left_label} and {right_label}"
    return mark_safe(render_diff_svg(before, after, diff, title=title))  # noqa: S308


def graph_svg(content: Mapping[str, Any], title: str) -> str:
    """A workflow's graph as safe SVG."""
    return mark_safe(render_svg(content, title=title))  # noqa: S308


def raw_text(content: Mapping[str, Any] | None) -> str:
    """JSON for people: as in Git, secrets masked line by line, and cut where it would drown the page."""
    if content is None:
        return ""
    text = dump(content).decode("utf-8", "replace")
    cut = text[:RAW_LIMIT]
    shown = "\n".join(mask(line) for line in cut.split("\n"))
    return shown if len(text) <= RAW_LIMIT else f"{shown}\n… {len(text) - RAW_LIMIT:,} more characters"


def report_steps(report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A connection report for ``components/steps.html``."""
    steps = []
    for check in (report or {}).get("checks", ()):
        failed = check.get("state") == "failed"
        steps.append(
            {
                "name": check.get("title") or check.get("name"),
                "state": check.get("state"),
                "result": "" if failed else check.get("sentence"),
                "error": check.get("sentence") if failed else "",
                "recovery": check.get("recovery"),
            }
        )
    return steps


def capabilities(report: Mapping[str, Any] | None) -> list[tuple[str, bool]]:
    """What the instance can do, as (words, whether)."""
    found = (report or {}).get("capabilities") or {}
    return [(name.replace("_", " "), bool(value)) for name, value in sorted(found.items())]
