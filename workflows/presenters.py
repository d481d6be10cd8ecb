"""What pages show of differences and reports; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.safestring import mark_safe

from .content import dump, normalize
from .diff import WorkflowDiff, diff_workflows
from .graph import render_diff_svg, render_svg
from .masking import mask
from .n8n.scopes import missing_scopes

if TYPE_CHECKING:
    from .models import Environment

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


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that an n8n does or does not do for the console, and what comes of it."""

    name: str
    can: bool
    why: str


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities of one kind."""

    title: str
    rows: tuple[Ability, ...]


_ABILITIES: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Publishing",
        (
            ("stage", "Save a draft beside what runs", "Else every write to a published workflow is live at once."),
            ("activate_version", "Publish a chosen version", "Else going back means writing the old content again."),
            ("history", "History of versions", "Else nobody is named for a change."),
            ("archive", "Archive", "Else archived workflows come back unpublished only."),
            ("unarchive", "Take out of the archive", "Else that is done by hand in n8n."),
            ("move_to_folder", "Move to a folder", "Else folders are compared, and not put back."),
        ),
    ),
    (
        "Around the workflows",
        (
            ("list_credentials", "List credentials", "Else they are learnt from the workflows that use them."),
            ("create_credential", "Create credentials", "Else missing ones are created by hand in n8n."),
            ("test_credential", "Test credentials", "Else a promotion does not know whether they work."),
            ("data_tables", "Data tables", "Else they are not matched between environments."),
            ("variables", "Variables", "Else they are not compared."),
            ("community_packages", "Community nodes", "Else it is not known whether one is installed."),
        ),
    ),
    (
        "Executions",
        (
            ("list_executions", "List executions", "Else it cannot be shown whether workflows run."),
            ("retry_execution", "Retry executions", "Else failed ones are tried again in n8n."),
        ),
    ),
)


def abilities(environment: Environment) -> list[Abilities]:
    """What its n8n does, in n8n's words, as it was last asked by a capture or a test; [] where it never was."""
    known = environment.capabilities or (environment.connection_report or {}).get("capabilities")
    if not known:
        return []
    return [
        Abilities(title, tuple(Ability(words, bool(known.get(name)), why) for name, words, why in rows))
        for title, rows in _ABILITIES
    ]


def key_scopes(told: Collection[str] | None) -> list[Ability]:
    """The scopes that the console uses, and whether the key has them; [] where n8n does not tell."""
    if told is None:
        return []
    lacking = {one.scope for one in missing_scopes(told)}
    return [Ability(one.scope, one.scope not in lacking, one.effect) for one in missing_scopes(())]
