"""Differences, connection reports and capabilities for pages. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.safestring import mark_safe

from .content import dump, normalize
from .diff import MAX_CHANGES, WorkflowDiff, diff_workflows
from .diff_listing import listed
from .graph import draw_overlay, render_svg
from .graph_overlay import Overlay, overlaid
from .masking import mask
from .n8n.report import ConnectionReport, read_report
from .n8n.scopes import missing_scopes
from .textdiff import Layout, TextDiff, compare
from .three_way import Version, compare_three

if TYPE_CHECKING:
    from .models import Environment

VIEWS = ("graph", "words", "text", "raw")
MARKED_AT_MOST = 5000
"""Changes of which a drawing marks the nodes; the list holds fewer."""
LISTED_BESIDE_A_GRAPH = 100
"""Changes that stand below a graph; all of them stand in the words."""
RAW_LIMIT = 400_000
"""Characters of raw JSON a page shows at most on one side."""


@dataclass(frozen=True, slots=True)
class DiffSide:
    """One side of a comparison: a portable workflow (None: it does not exist there), and what the side is called.

    ``keys`` maps the n8n ids that it may call to canonical keys.
    """

    content: Mapping[str, Any] | None
    label: str
    keys: Mapping[str, str] | None = None

    @property
    def as_compared(self) -> Mapping[str, Any] | None:
        """What counts in the comparison, as it is hashed."""
        return normalize(self.content, self.keys) if self.content is not None else None


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How a difference is asked for: ``canvas`` also shows positions, notes and ids, in the graph and in the text.

    Of the text, ``whole`` folds nothing, and ``section`` is the key of the only part that is shown.
    """

    layout: Layout = "unified"
    whole: bool = False
    canvas: bool = False
    section: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> TextOptions:
        """From an address: ``layout=split``, ``lines=all``, ``canvas=1``, ``section=node:…``."""
        layout: Layout = "split" if query.get("layout") == "split" else "unified"
        return cls(layout, query.get("lines") == "all", query.get("canvas") == "1", query.get("section", ""))


def diff_context(
    left: DiffSide, right: DiffSide, *, view: str = "graph", across: bool = False, text: TextOptions | None = None
) -> dict[str, Any]:
    """The context of ``workflows/_diff.html``.

    ``view`` is graph (both sides over each other, and the changes), words (the changes alone), text (line by line) or
    raw (both sides as JSON); only what it shows is made. ``across``: the sides are two environments.
    """
    diff = diff_workflows(
        left.content,
        right.content,
        before_keys=left.keys,
        after_keys=right.keys,
        across=across,
        most=MARKED_AT_MOST,
    )
    shown = view if view in VIEWS else "graph"
    options = text or TextOptions()
    overlay = overlaid(left.content, right.content, diff, canvas=options.canvas) if shown == "graph" else Overlay()
    changes = listed(diff, overlay.marks, most=LISTED_BESIDE_A_GRAPH if shown == "graph" else MAX_CHANGES)
    return {
        "diff": diff,
        "left_label": left.label,
        "right_label": right.label,
        "view": shown,
        "options": options,
        "behaviour": changes.behaviour,
        "beside": changes.beside,
        "cosmetic": changes.cosmetic,
        "behaviour_count": changes.behaviour_count,
        "cosmetic_count": changes.cosmetic_count,
        "left_out": changes.left_out,
        "one_sided": left.content is None or right.content is None,
        **_drawn(left, right, diff, shown, options),
        **_graph(left, right, overlay, shown),
    }


def three_way_context(base: DiffSide, left: DiffSide, right: DiffSide, *, across: bool = False) -> dict[str, Any]:
    """What ``workflows/_three_way.html`` draws beside the two sides; nothing unless both changed since ``base``."""
    three = compare_three(*(Version(side.content, side.keys) for side in (base, left, right)), across=across)
    if not three.both_changed:
        return {}
    return {"three": three, "base_label": f"Since {base.label}", "three_labels": (left.label, right.label)}


def stored_context(diff: WorkflowDiff, left_label: str, right_label: str) -> dict[str, Any]:
    """The context of ``workflows/_diff.html`` in words, of a diff that was stored: neither side is read."""
    changes = listed(diff, ())
    return {
        "diff": diff,
        "left_label": left_label,
        "right_label": right_label,
        "view": "words",
        "options": TextOptions(),
        "behaviour": changes.behaviour,
        "beside": changes.beside,
        "cosmetic": changes.cosmetic,
        "behaviour_count": changes.behaviour_count,
        "cosmetic_count": changes.cosmetic_count,
        "left_out": changes.left_out,
    }


def _drawn(left: DiffSide, right: DiffSide, diff: WorkflowDiff, view: str, options: TextOptions) -> dict[str, Any]:
    """What the view shows beside the list of changes."""
    if view == "raw":
        return {"left_raw": raw_text(left.content), "right_raw": raw_text(right.content)}
    return {"text": text_diff(left, right, diff, options)} if view == "text" else {}


def text_diff(left: DiffSide, right: DiffSide, diff: WorkflowDiff, options: TextOptions) -> TextDiff:
    """Both sides line by line: what counts in the comparison, or with ``canvas`` everything."""
    renamed = {change.node: change.before_node for change in diff.changes if change.what == "node_renamed"}
    before, after = (left.content, right.content) if options.canvas else (left.as_compared, right.as_compared)
    return compare(before, after, renamed=renamed, whole=options.whole, only=options.section)


def _graph(left: DiffSide, right: DiffSide, overlay: Overlay, view: str) -> dict[str, Any]:
    """The overlay as safe SVG (drawn here, every text escaped), and what its marks mean."""
    if view != "graph" or (left.content is None and right.content is None):
        return {"graph": "", "legend": (), "lines_legend": {}}
    title = f"Graph of both sides: {left.label} and {right.label}"
    return {
        "graph": mark_safe(draw_overlay(overlay, title=title)),  # noqa: S308
        "legend": list(overlay.counts.items()),
        "lines_legend": overlay.line_counts,
    }


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


def report_steps(report: ConnectionReport | None) -> list[dict[str, str]]:
    """A connection report for ``components/steps.html``."""
    return [
        {
            "name": check.title or check.name,
            "state": check.state,
            "sentence": "" if check.state == "failed" else check.sentence,
            "error": check.sentence if check.state == "failed" else "",
            "recovery": check.recovery,
        }
        for check in (report.checks if report else ())
    ]


@dataclass(frozen=True, slots=True)
class Ability:
    """A feature that an n8n has or lacks, and the consequence."""

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
            (
                "stage",
                "Save a draft beside what runs",
                "Without it, every write to a published workflow is live at once.",
            ),
            (
                "activate_version",
                "Publish a chosen version",
                "Without it, a roll back has to write the old content again.",
            ),
            ("history", "History of versions", "Without it, changes have no author."),
            ("archive", "Archive", "Without it, archived workflows are restored as unpublished ones."),
            ("unarchive", "Unarchive", "Without it, that is done by hand in n8n."),
            ("move_to_folder", "Move to a folder", "Without it, folders are compared, but not restored."),
        ),
    ),
    (
        "Around the workflows",
        (
            ("list_credentials", "List credentials", "Without it, only those that workflows use are known."),
            ("create_credential", "Create credentials", "Without it, missing ones are created by hand in n8n."),
            ("test_credential", "Test credentials", "Without it, a promotion does not know whether they work."),
            ("data_tables", "Data tables", "Without it, they are not matched between environments."),
            ("variables", "Variables", "Without it, they are not compared."),
            ("community_packages", "Community nodes", "Without it, nobody knows whether one is installed."),
        ),
    ),
    (
        "Executions",
        (
            ("list_executions", "List executions", "Without it, the console cannot show whether workflows run."),
            ("retry_execution", "Retry executions", "Without it, failed ones are retried in n8n."),
        ),
    ),
)


def abilities(environment: Environment) -> list[Abilities]:
    """What its n8n offers, as of the last capture or connection test; [] where there was none."""
    report = read_report(environment.connection_report)
    known = environment.capabilities or (report.capabilities if report else None)
    if not known:
        return []
    return [
        Abilities(title, tuple(Ability(words, bool(known.get(name)), why) for name, words, why in rows))
        for title, rows in _ABILITIES
    ]


def key_scopes(scopes: Collection[str] | None) -> list[Ability]:
    """The scopes that the console uses, and whether the key has them; [] where n8n does not list them (None)."""
    if scopes is None:
        return []
    lacking = {one.scope for one in missing_scopes(scopes)}
    return [Ability(one.scope, one.scope not in lacking, one.effect) for one in missing_scopes(())]
