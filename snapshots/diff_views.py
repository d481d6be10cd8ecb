"""Pages that show a workflow's content from Git: one workflow, and two versions of it beside each other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import Invalid, NotFound, OpsError
from core.support_rules import READS, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows import selectors
from workflows.content import LiveVersion, parse
from workflows.executions.presenting import of_workflow
from workflows.models import CanonicalWorkflow, Environment
from workflows.presenters import DiffSide, TextOptions, diff_context, graph_svg
from workflows.watching.selectors import of_workflow as watched_of_workflow

from . import canonical, services
from .contents import keys_of
from .errors import SnapshotUnreadable
from .models import Snapshot
from .reading import Rescued

SNAPSHOTS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its words, the environment's slug, the workflow there (None: not there), and the ids
    that it can refer to.
    """

    spec: str
    label: str
    environment: str = ""
    content: dict[str, Any] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


def load_side(visit: Visit, spec: str, key: str, *, other: str = "") -> Side:
    """What ``spec`` names: ``<env>`` as last seen, ``draft:<env>`` as its editor held it then, ``git:<env>`` as
    approved, ``snapshot:<id>``, ``snapshot-draft:<id>``. Outside any scope.

    ``git`` alone means what is approved in the environment that the other side names.
    """
    kind, _, name = spec.partition(":")
    if kind in ("draft", "snapshot-draft") and name:
        return _draft_side(visit, spec, key)
    if kind == "snapshot" and name:
        snapshot = services.snapshot_by_id(visit.tenant.pk, name)
        label = f"{snapshot.environment.name}, {snapshot.get_snapshot_type_display().lower()} {_moment(snapshot)}"
        return _from_snapshot(snapshot, key, spec, label)
    if kind == "git":
        environment = _environment(visit, name or other.rpartition(":")[2])
        content = canonical.canonical_content(environment, [key]).get(key)
        keys = canonical.canonical_references(environment)
        return Side(f"git:{environment.slug}", f"{environment.name}, approved", environment.slug, content, keys)
    environment = _environment(visit, spec)
    if environment.last_snapshot_id is None:
        return Side(spec, f"{environment.name} has never been captured", environment.slug)
    snapshot = services.snapshot_by_id(visit.tenant.pk, environment.last_snapshot_id)
    return _from_snapshot(snapshot, key, spec, f"{environment.name}, seen {_moment(snapshot)}")


def _draft_side(visit: Visit, spec: str, key: str) -> Side:
    """The draft beside what runs; where there is none, the editor held what ran."""
    kind, _, name = spec.partition(":")
    snapshot_id = _environment(visit, name).last_snapshot_id if kind == "draft" else name
    if snapshot_id is None:
        return Side(spec, f"{name} has never been captured", name)
    snapshot = services.snapshot_by_id(visit.tenant.pk, snapshot_id)
    label = f"{snapshot.environment.name}, draft {_moment(snapshot)}"
    rescued = Rescued()
    data = services.load_drafts(snapshot, {key}, rescued=rescued).get(key)
    if data is None:
        return _from_snapshot(snapshot, key, spec, label)
    keys = keys_of(snapshot)
    return Side(spec, f"{label}{_wherefrom(rescued)}", snapshot.environment.slug, parse(data), keys)


def _moment(snapshot: Snapshot) -> str:
    return f"{snapshot.created_at:%Y-%m-%d %H:%M:%S} UTC"


def _from_snapshot(snapshot: Snapshot, key: str, spec: str, label: str) -> Side:
    rescued = Rescued()
    for _, content in services.contents(snapshot, {key}, rescued=rescued):
        keys = keys_of(snapshot)
        return Side(spec, f"{label}{_wherefrom(rescued)}", snapshot.environment.slug, content, keys)
    return Side(spec, label, snapshot.environment.slug)


def _wherefrom(rescued: Rescued) -> str:
    return f", from the database: missing from Git ({SnapshotUnreadable.code})" if rescued.labels else ""


def _environment(visit: Visit, slug: str) -> Environment:
    with tenant_scope(visit.tenant.pk):
        environment = Environment.objects.filter(slug=slug).first()
    if environment is None:
        raise NotFound
    return environment


def _workflow(visit: Visit, key: str) -> tuple[CanonicalWorkflow, selectors.Row]:
    with tenant_scope(visit.tenant.pk):
        workflow = selectors.workflow_or_404(key)
        return workflow, selectors.rows_of([workflow], selectors.environments())[0]


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def workflow_diff(request: HttpRequest, visit: Visit, key: str) -> HttpResponse:
    """Two versions of a workflow: ``?left=…&right=…`` (see ``load_side``), ``&view=graph|text|raw``.

    With ``&part=text`` the text alone, to stand in another page.
    """
    workflow, row = _workflow(visit, key)
    left_spec, right_spec = _specs(request, row)
    left = load_side(visit, left_spec, key, other=right_spec)
    right = load_side(visit, right_spec, key, other=left_spec)
    only_text = request.GET.get("part") == "text"
    context = diff_context(
        DiffSide(left.content, left.label, left.keys),
        DiffSide(right.content, right.label, right.keys),
        view="text" if only_text else request.GET.get("view", "graph"),
        across=left.environment != right.environment,
        text=TextOptions.read(request.GET),
    )
    context["diff_query"] = f"{request.path}?{urlencode({'left': left.spec, 'right': right.spec})}&"
    if only_text:
        return render(request, "workflows/_text_diff.html", context)
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


def _specs(request: HttpRequest, row: selectors.Row) -> tuple[str, str]:
    here = [cell.environment.slug for cell in row.cells if cell.mapping is not None]
    left = request.GET.get("left", "")[:80] or next(iter(here), "")
    right = request.GET.get("right", "")[:80] or _beside(left, here)
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
        found.append((cell.environment.slug, f"{cell.environment.name}, last seen"))
        if cell.mapping is not None and cell.mapping.has_draft:
            found.append((f"draft:{cell.environment.slug}", f"{cell.environment.name}, draft"))
        found.append((f"git:{cell.environment.slug}", f"{cell.environment.name}, approved"))
    ids = [cell.environment.pk for cell in row.cells]
    snapshots = Snapshot.objects.filter(environment_id__in=ids).select_related("environment").defer("workflows")
    for snapshot in snapshots.order_by("-created_at", "-pk")[:SNAPSHOTS_SHOWN]:
        words = f"{snapshot.environment.name}, {snapshot.get_snapshot_type_display().lower()} {_moment(snapshot)}"
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
    content = side.content if side else None
    with tenant_scope(visit.tenant.pk):
        context = {
            "workflow": found,
            "row": row,
            "shown": shown,
            "side": side,
            "trouble": trouble,
            "graph": graph_svg(content, found.name or found.key) if content is not None else "",
            "node_count": len(content["nodes"]) if content is not None else 0,
            "history": _history(found, [cell.environment.pk for cell in here]),
            "versions": _versions(found, shown.environment) if shown is not None else [],
            "runs": of_workflow(here, shown),
            "watched": watched_of_workflow(
                [(cell.environment.pk, cell.mapping.env_workflow_id) for cell in here if cell.mapping is not None]
            ),
            "watched_url": "?part=watched",
            "nav_section": "tenant-home",
        }
        part = "#watched" if request.GET.get("part") == "watched" else ""
        return render(request, f"workflows/workflow.html{part}", context)


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
    for snapshot_id, created_at, live in rows:
        version = msgspec.convert(json.loads(live) if isinstance(live, str) else live, LiveVersion)
        found.setdefault(version.version_id, VersionSeen(version, created_at, snapshot_id))
    return list(reversed(found.values()))


def _history(workflow: CanonicalWorkflow, environment_ids: list[uuid.UUID]) -> list[Snapshot]:
    """The newest snapshots that hold the workflow; by the manifest in the row, without reading it whole."""
    # Manifests are large: only those of the newest few are opened.
    newest = Snapshot.objects.filter(environment_id__in=environment_ids).order_by("-created_at", "-pk")
    ids = list(newest.values_list("pk", flat=True)[: SNAPSHOTS_SHOWN * 2])
    return list(
        Snapshot.objects.filter(pk__in=ids, workflows__contains=[{"key": workflow.key}])
        .select_related("environment", "created_by")
        .defer("workflows")
        .order_by("-created_at", "-pk")[:SNAPSHOTS_SHOWN]
    )
