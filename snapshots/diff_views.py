"""Pages that show a workflow's content from Git: one workflow, and two versions of it beside each other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import Invalid, OpsError
from core.support_rules import READS, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows import selectors
from workflows.accepted import accepted
from workflows.content import LiveVersion
from workflows.executions.presenting import of_workflow
from workflows.models import CanonicalWorkflow, Environment
from workflows.permissions import may_operate
from workflows.presenters import TextOptions, graph_svg
from workflows.watching.selectors import of_workflow as watched_of_workflow

from .models import Snapshot
from .sides import LONGEST_SPEC, Side, compared, for_good, load_side, snapshot_spec

SNAPSHOTS_SHOWN = 12


def _workflow(visit: Visit, key: str) -> tuple[CanonicalWorkflow, selectors.Row]:
    with tenant_scope(visit.tenant.pk):
        workflow = selectors.workflow_or_404(key)
        return workflow, selectors.rows_of([workflow], selectors.environments(), accepted())[0]


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def workflow_diff(request: HttpRequest, visit: Visit, key: str) -> HttpResponse:
    """Two versions of a workflow: ``?left=…&right=…`` (see ``sides``), ``&view=graph|words|text|raw``.

    With ``&base=…``, the version that both had in common, each is told by what it did since. With ``&part=text`` the
    text alone, to stand in another page. Whoever asks for what is there *today* is led to the address of what it is.
    """
    workflow, row = _workflow(visit, key)
    asked = _specs(request, row)
    left_spec, right_spec = for_good(visit, asked[0], other=asked[1]), for_good(visit, asked[1], other=asked[0])
    if (left_spec, right_spec) != (request.GET.get("left"), request.GET.get("right")):
        return redirect(f"{request.path}?{urlencode({**request.GET.dict(), 'left': left_spec, 'right': right_spec})}")
    left, right = load_side(visit, left_spec, key), load_side(visit, right_spec, key)
    only_text = request.GET.get("part") == "text"
    base = _base(visit, request, key)
    context = compared(
        left,
        right,
        view="text" if only_text else request.GET.get("view", "graph"),
        text=TextOptions.read(request.GET),
        base=base,
    )
    sides = {"left": left.spec, "right": right.spec, **({"base": base.spec} if base is not None else {})}
    context["diff_query"] = f"{request.path}?{urlencode(sides)}&"
    if only_text:
        return render(request, "workflows/_text_diff.html", context | {"inline": True})
    with tenant_scope(visit.tenant.pk):
        choices = _choices(row)
    shown = (left.environment, right.environment)
    context |= {
        "workflow": workflow,
        "left": left,
        "right": right,
        "choices": _with(choices, left, right),
        "shown_cells": [cell for cell in row.cells if cell.editor_url and cell.environment.slug in shown],
        "nothing": left.content is None and right.content is None,
        "swap_query": f"?{urlencode({'left': right.spec, 'right': left.spec, 'view': context['view']})}",
        "nav_section": "tenant-home",
    }
    return render(request, "workflows/diff.html", context)


def _base(visit: Visit, request: HttpRequest, key: str) -> Side | None:
    spec = request.GET.get("base", "")[:LONGEST_SPEC]
    return load_side(visit, spec, key) if spec else None


def _specs(request: HttpRequest, row: selectors.Row) -> tuple[str, str]:
    here = [cell.environment.slug for cell in row.cells if cell.mapping is not None]
    left = request.GET.get("left", "")[:LONGEST_SPEC] or next(iter(here), "")
    right = request.GET.get("right", "")[:LONGEST_SPEC] or _beside(left, here)
    if not left or not right or left == right == "git":
        raise Invalid("Nothing to compare yet.", recovery="Capture an environment first.")
    return left, right


def _beside(left: str, here: Sequence[str]) -> str:
    """What is compared with ``left`` unless asked otherwise: the second environment, else what is approved."""
    if len(here) > 1:
        return here[1]
    return f"git:{left}" if left else ""


def _choices(row: selectors.Row) -> list[tuple[str, str]]:
    found = []
    for cell in row.cells:
        environment = cell.environment
        found.append((environment.seen_version, f"{environment.name}, last seen"))
        if cell.mapping is not None and cell.mapping.has_draft:
            found.append((environment.draft_version, f"{environment.name}, draft"))
        found.append((environment.approved_version, f"{environment.name}, approved"))
    ids = [cell.environment.pk for cell in row.cells]
    snapshots = Snapshot.objects.filter(environment_id__in=ids).select_related("environment").defer("workflows")
    newest = [cell.environment.last_snapshot_id for cell in row.cells if cell.environment.last_snapshot_id]
    for snapshot in snapshots.exclude(pk__in=newest).order_by("-created_at", "-pk")[:SNAPSHOTS_SHOWN]:
        kind, at = snapshot.get_snapshot_type_display().lower(), f"{snapshot.created_at:%Y-%m-%d %H:%M:%S} UTC"
        words = f"{snapshot.environment.name}, {kind} {at}"
        found.append((f"snapshot:{snapshot.pk}", words))
    return found


def _with(choices: list[tuple[str, str]], *sides: Side) -> list[tuple[str, str]]:
    known = {spec for spec, _ in choices}
    return choices + [(side.spec, side.label) for side in sides if side.spec not in known]


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def workflow(request: HttpRequest, visit: Visit, key: str) -> HttpResponse:
    """One workflow: its graph, where it lives, what was captured of it."""
    found, row = _workflow(visit, key)
    here = [cell for cell in row.cells if cell.mapping is not None]
    wanted = request.GET.get("environment", "")
    shown = next((cell for cell in here if cell.environment.slug == wanted), _where_the_trouble_is(here))
    side, trouble = _side_of(visit, shown, key)
    with tenant_scope(visit.tenant.pk):
        context = {
            "workflow": found,
            "row": row,
            "shown": shown,
            "side": side,
            "trouble": trouble,
            **_graph_of(side, found.name or found.key),
            "history": _history(found, [cell.environment.pk for cell in here]),
            "versions": _versions(found, shown.environment) if shown is not None else [],
            "runs": of_workflow(here, shown),
            "watched": watched_of_workflow(
                [(cell.environment.pk, cell.mapping.env_workflow_id) for cell in here if cell.mapping is not None]
            ),
            "watched_url": "?part=watched",
            "testable": {cell.environment.pk for cell in here if may_operate(visit, cell.environment)},
            "nav_section": "tenant-home",
        }
        part = "#watched" if request.GET.get("part") == "watched" else ""
        return render(request, f"workflows/workflow.html{part}", context)


def _graph_of(side: Side | None, title: str) -> dict[str, Any]:
    if side is None or side.content is None:
        return {"graph": "", "node_count": 0}
    return {"graph": graph_svg(side.content, title), "node_count": len(side.content["nodes"])}


def _side_of(visit: Visit, shown: selectors.Cell | None, key: str) -> tuple[Side | None, OpsError | None]:
    """What was seen of the workflow there, else what is approved; or why it cannot be read."""
    side: Side | None = None
    if shown is None:
        return side, None
    try:
        side = load_side(visit, shown.environment.slug, key)
        if side.content is None:
            side = load_side(visit, f"git:{shown.environment.slug}", key)
    except OpsError as error:
        return side, error
    return side, None


def _where_the_trouble_is(here: list[selectors.Cell]) -> selectors.Cell | None:
    """The environment to open: the last one that drifts, else the last one with a draft, else the first."""
    drifting = [cell for cell in here if cell.state in ("drifted", "missing")]
    drafted = [cell for cell in here if cell.mapping is not None and cell.mapping.has_draft]
    chosen = drifting or drafted or here[:1]
    return chosen[-1] if chosen else None


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A version that ran in an environment, as captures saw it: whose it is by n8n's word, and since when."""

    version: LiveVersion
    first_seen_at: datetime
    snapshot_id: uuid.UUID
    before_id: uuid.UUID | None = None
    """The capture that saw the version before it, where one is known."""

    @property
    def changes_query(self) -> str:
        """Both versions, as the address of their difference names them; '' where only one is known."""
        return _since(self.before_id, self.snapshot_id)


_VERSIONS_SQL = """
SELECT id, created_at, entry->'live' FROM (
  SELECT id, created_at, jsonb_path_query_first(workflows, '$[*] ? (@.key == $key)', %s::jsonb) AS entry
  FROM snapshots WHERE environment_id = %s ORDER BY created_at DESC LIMIT %s) s
WHERE entry->'live' IS NOT NULL ORDER BY created_at
"""


def _versions(workflow: CanonicalWorkflow, environment: Environment) -> list[VersionSeen]:
    """The versions that ran there, newest first, each at the capture that saw it first."""
    with connection.cursor() as cursor:
        asked = json.dumps({"key": workflow.key})
        cursor.execute(_VERSIONS_SQL, [asked, environment.pk, SNAPSHOTS_SHOWN * 2])
        rows = cursor.fetchall()
    found: dict[str, VersionSeen] = {}
    before = None
    for snapshot_id, created_at, live in rows:
        version = msgspec.convert(json.loads(live) if isinstance(live, str) else live, LiveVersion)
        found.setdefault(version.version_id, VersionSeen(version, created_at, snapshot_id, before))
        before = snapshot_id
    return list(reversed(found.values()))


def _since(before_id: uuid.UUID | None, snapshot_id: uuid.UUID) -> str:
    if before_id is None:
        return ""
    return urlencode({"left": snapshot_spec(before_id), "right": snapshot_spec(snapshot_id)})


@dataclass(frozen=True, slots=True)
class Captured:
    """A snapshot that holds the workflow, and the one before it of the same environment, where it is listed."""

    snapshot: Snapshot
    before_id: uuid.UUID | None

    @property
    def changes_query(self) -> str:
        """Both, as the address of their difference names them; '' where only one is known."""
        return _since(self.before_id, self.snapshot.pk)


def _one_after_another(newest_first: Sequence[Snapshot]) -> list[Captured]:
    before: dict[uuid.UUID, uuid.UUID] = {}
    found = []
    for snapshot in reversed(newest_first):
        found.append(Captured(snapshot, before.get(snapshot.environment_id)))
        before[snapshot.environment_id] = snapshot.pk
    return found[::-1]


def _history(workflow: CanonicalWorkflow, environment_ids: list[uuid.UUID]) -> list[Captured]:
    """The newest snapshots that hold the workflow; by the manifest in the row, without reading it whole."""
    # Manifests are large: only those of the newest few are opened.
    newest = Snapshot.objects.filter(environment_id__in=environment_ids).order_by("-created_at", "-pk")
    ids = list(newest.values_list("pk", flat=True)[: SNAPSHOTS_SHOWN * 2])
    holding = Snapshot.objects.filter(pk__in=ids, workflows__contains=[{"key": workflow.key}])
    rows = holding.select_related("environment", "created_by").defer("workflows").order_by("-created_at", "-pk")
    return _one_after_another(list(rows[:SNAPSHOTS_SHOWN]))
