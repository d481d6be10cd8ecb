"""Pages of snapshots: the list, one of them, comparing, and the way to a restore."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
import orjson
from django.contrib import messages
from django.core.validators import slug_re
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core import clock
from core.days import by_day
from core.downloads import Download
from core.errors import NotFound, OpsError
from core.ids import uuid_or_none
from core.paging import clamp
from core.support_rules import READS, READS_AND_WRITES, WRITES, in_support_session
from core.texts import json_bytes
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed, word_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.permissions import may_operate, require_operate

from . import pushing, selectors, services, taking
from .approving import require_approver
from .canonical import canonical_blobs
from .errors import BaselineNotConfirmed
from .forms import BY_HAND, CaptureForm
from .manifest import CaptureFinding, set_aside, verification_from
from .models import Snapshot, SnapshotType
from .reading import Rescued
from .selectors import ComparedSide
from .sides import APPROVED, for_good, snapshot_spec

ROWS = 50
COMPARED_ROWS = 200
LISTED = 100


def _environments() -> list[Environment]:
    return list(Environment.objects.filter(is_archived=False).order_by("position", "name"))


def _named(environments: Sequence[Environment], name: str | None) -> Environment | None:
    """The environment with this id or slug."""
    return next((e for e in environments if name in (str(e.pk), e.slug)), None)


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def snapshots(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Every snapshot of the tenant, newest first."""
    environments = _environments()
    chosen = _named(environments, request.GET.get("environment"))
    kind = request.GET.get("type", "")
    kind = kind if kind in SnapshotType.values else ""
    page = selectors.list_snapshots(
        environment_id=chosen.pk if chosen else None,
        snapshot_type=kind,
        cursor=request.GET.get("cursor", ""),
        limit=clamp(request.GET.get("limit")),
    )
    context = {
        "page": page,
        "all_environments": environments,
        "chosen": chosen,
        "kind": kind,
        "types": SnapshotType.choices,
        "filtered": bool(chosen or kind or request.GET.get("cursor")),
        "may_operate": visit.may(Grants.OPERATE) or any(may_operate(visit, e) for e in environments),
        "nav_section": "snapshots",
        "copied": pushing.copied() if visit.tenant.git_remote_url else None,
        "megabytes_by_day": _megabytes_by_day(chosen),
        "hours_since_capture": _hours_since_capture([chosen] if chosen else environments),
    }
    return render(request, "snapshots/list.html", context)


def _megabytes_by_day(chosen: Environment | None) -> list[tuple[str, float]]:
    rows = Snapshot.objects.filter(environment=chosen) if chosen else Snapshot.objects.all()
    return [(day, total / 1_000_000) for day, total in by_day(rows, of=Sum("total_bytes"))]


def _hours_since_capture(environments: Sequence[Environment]) -> list[tuple[str, float]]:
    now = clock.now()
    captured = ((e.name, e.last_captured_at) for e in environments)
    return [(name, (now - moment).total_seconds() / 3600) for name, moment in captured if moment]


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",), scope=False)
def snapshots_push(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Copy the history to the Git remote now."""
    try:
        operation = pushing.start_push(tenant_id=visit.tenant.pk, requested_by=visit.user)
    except OpsError as error:
        messages.error(request, f"{error.message} {error.recovery}")
        return redirect("snapshots", tenant_slug=visit.tenant.slug)
    return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"), scope=False)
def snapshot_create(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Take a snapshot by hand."""
    environments = _operable(visit)
    if not environments:
        visit.require(Grants.OPERATE)
    form = CaptureForm(request.POST or None, environments=environments, initial=_asked_for(request, environments))
    refused: OpsError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            operation = _begin_capture(request, visit, form, environments)
        except OpsError as error:
            refused = error
        else:
            messages.info(request, "The capture has begun.")
            return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)
    status = 422 if request.method == "POST" else 200
    context = {
        "form": form,
        "nav_section": "snapshots",
        "none": not environments,
        "refused": refused,
        "approves": form["snapshot_type"].value() == SnapshotType.BASELINE,
        "to_type": _word_for_baseline(_named(environments, form["environment"].value())),
    }
    return render(request, "snapshots/new.html", context, status=refused.status if refused else status)


def _operable(visit: Visit) -> list[Environment]:
    with tenant_scope(visit.tenant.pk):
        return [e for e in _environments() if may_operate(visit, e)]


def _asked_for(request: HttpRequest, environments: Sequence[Environment]) -> dict[str, str]:
    """What the link to the form chooses."""
    asked, kind = _named(environments, request.GET.get("environment")), request.GET.get("snapshot_type", "")
    return {**({"environment": str(asked.pk)} if asked else {}), **({"snapshot_type": kind} if kind in BY_HAND else {})}


def _word_for_baseline(chosen: Environment | None) -> str:
    return word_for([chosen]) if chosen is not None and chosen.baseline_commit_sha else ""


def _begin_capture(
    request: HttpRequest, visit: Visit, form: CaptureForm, environments: Sequence[Environment]
) -> Operation:
    given = form.cleaned_data
    environment = next(e for e in environments if str(e.pk) == given["environment"])
    if given["snapshot_type"] == SnapshotType.BASELINE:
        require_approver(visit, environment)
        if environment.baseline_commit_sha:
            require_typed([environment], request.POST.get("typed", ""), BaselineNotConfirmed)
    return services.start_capture(
        tenant_id=visit.tenant.pk,
        environment_id=environment.pk,
        snapshot_type=given["snapshot_type"],
        description=given["description"],
        requested_by=visit.user,
    )


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def snapshot(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """One snapshot: facts, what verification found, every workflow with its hash."""
    found = services.snapshot_by_id(visit.tenant.pk, pk)
    lost: OpsError | None = None
    try:
        entries = services.entries(found)
    except OpsError as error:
        entries, lost = [], error
    q = request.GET.get("q", "")[:200]
    page, total = selectors.entry_page(entries, q=q, cursor=request.GET.get("cursor", ""), limit=ROWS)
    with tenant_scope(visit.tenant.pk):
        others = list(
            Snapshot.objects.filter(environment_id=found.environment_id)
            .exclude(pk=pk)
            .defer("workflows", "verification")
            .order_by("-created_at", "-id")[:20]
        )
        operable = may_operate(visit, found.environment)
    verification = verification_from(found.verification)
    context = {
        "snapshot": found,
        "environment": found.environment,
        "page": page,
        "total": total,
        "q": q,
        "others": others,
        "lost": lost,
        "verification": verification,
        "problems": verification.problems[:LISTED],
        **_noted(verification.findings),
        "may_operate": operable,
        "nav_section": "snapshots",
    }
    return render(request, "snapshots/snapshot.html", context)


def _noted(findings: Sequence[CaptureFinding]) -> dict[str, Any]:
    """What the capture noted: workflows that are not in the snapshot apart from all else."""
    left_out, others = set_aside(findings), [finding for finding in findings if not finding.is_set_aside]
    return {"set_aside": left_out, "findings": others[:LISTED], "findings_total": len(others)}


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, methods=("POST",), scope=False)
def snapshot_verify(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Read it back from Git, as a job."""
    found = services.snapshot_by_id(visit.tenant.pk, pk)
    require_operate(visit, found.environment)
    operation = services.start_verify(snapshot=found, requested_by=visit.user)
    return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)


@in_support_session(taking.PAGE_RULES)
@tenant_page(taking.GRANT, scope=False)
def snapshot_download(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """The whole snapshot as one JSON file: the manifest with every content in it."""
    found = services.snapshot_by_id(visit.tenant.pk, pk)
    services.entries(found)
    name = f"{found.environment.slug}-{found.created_at:%Y%m%d-%H%M%S}-{str(found.pk)[:8]}.json"
    # Read as a whole and on record before the first byte leaves: what Git cannot give is an error, not half a file.
    held = tempfile.TemporaryFile()  # noqa: SIM115 -- the answer closes it
    try:
        held.writelines(_bundle(found))
        size = held.tell()
        held.seek(0)
        services.record_download(found, size=size, sha256=hashlib.file_digest(held, "sha256").hexdigest())
    except BaseException:
        held.close()
        raise
    held.seek(0)
    return Download(held, filename=name, content_type="application/json")  # type: ignore[return-value]


def _bundle(found: Snapshot) -> Iterator[bytes]:
    head = json_bytes({"snapshot": selectors.snapshot_row(found)}, default=str)
    yield head[:-1] + b',"workflows":[\n'
    rescued = Rescued()
    for number, (entry, data) in enumerate(services.load_bytes(found, rescued=rescued)):
        yield (b",\n" if number else b"") + orjson.dumps({**entry.to_json(), "content": orjson.Fragment(data)})
    said = b',"warnings":' + orjson.dumps(msgspec.to_builtins(rescued.warnings)) if rescued.warnings else b""
    yield b"\n]" + said + b"}\n"


# -- comparing --------------------------------------------------------------------------------------------------------


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def snapshot_compare(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """This snapshot beside another one, what was seen last, or what is approved; one workflow's diff with ``key``."""
    left = services.snapshot_by_id(visit.tenant.pk, pk)
    wanted = request.GET.get("with", "now")
    key = request.GET.get("key", "")[:200]
    if wanted == "now":
        return _with_now(visit, left, key)
    if key:
        return redirect(_one_workflow(visit, left, wanted, key))
    right, label = _other_side(visit, left, wanted)
    context: dict[str, Any] = {
        "snapshot": left,
        "environment": left.environment,
        "with_": wanted,
        "right_label": label,
        "may_capture": may_operate(visit, left.environment),
        "left_label": f"Snapshot of {left.created_at:%d %b %Y %H:%M} UTC",
        "nav_section": "snapshots",
    }
    rows, counts = selectors.compare(_sides(left), _approved(left.environment) if right is None else _sides(right))
    show = selectors.chosen_state(request.GET.get("show", ""))
    shown = [r for r in rows if r.state == show or (not show and r.state != "unchanged")]
    context |= {
        "rows": shown[:COMPARED_ROWS],
        "more": max(0, len(shown) - COMPARED_ROWS),
        "counts": counts,
        "show": show,
        "diff_query": urlencode(_pair(visit, left, wanted)),
    }
    return render(request, "snapshots/compare.html", context)


def _pair(visit: Visit, left: Snapshot, wanted: str) -> dict[str, str]:
    """Both sides as the address of a workflow's diff names them."""
    slug = left.environment.slug
    named = {"approved": f"{APPROVED}:{slug}", "seen": slug}.get(wanted) or snapshot_spec(wanted)
    return {"left": snapshot_spec(left.pk), "right": for_good(visit, named)}


def _one_workflow(visit: Visit, left: Snapshot, wanted: str, key: str) -> str:
    """The diff of one workflow."""
    if not slug_re.fullmatch(key):
        raise NotFound
    there = reverse("workflow-diff", kwargs={"tenant_slug": visit.tenant.slug, "key": key})
    return f"{there}?{urlencode(_pair(visit, left, wanted))}"


def _with_now(visit: Visit, left: Snapshot, key: str) -> HttpResponse:
    """To the page that asks n8n what is there now."""
    query = {"left": f"snapshot:{left.pk}", "right": f"now:{left.environment.slug}", **({"key": key} if key else {})}
    return redirect(f"{reverse('compare', kwargs={'tenant_slug': visit.tenant.slug})}?{urlencode(query)}")


def _other_side(visit: Visit, left: Snapshot, wanted: str) -> tuple[Snapshot | None, str]:
    if wanted == "approved":
        return None, f"Approved in {left.environment.name}"
    snapshot_id = left.environment.last_snapshot_id if wanted == "seen" else uuid_or_none(wanted)
    if snapshot_id is None:
        raise NotFound("There is nothing to compare with.", recovery="Choose another snapshot.")
    other = services.snapshot_by_id(visit.tenant.pk, snapshot_id)
    kind = "Last seen" if wanted == "seen" else "Snapshot of"
    return other, f"{kind} {other.created_at:%d %b %Y %H:%M} UTC"


def _sides(snapshot: Snapshot) -> dict[str, ComparedSide]:
    return {entry.key: ComparedSide.of(entry) for entry in services.entries(snapshot)}


def _approved(environment: Environment) -> dict[str, ComparedSide]:
    """What is approved, by key."""
    blobs = canonical_blobs(environment)
    with tenant_scope(environment.tenant_id):
        rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk).values_list(
            "canonical_workflow__key", "env_name", "git_content_hash", "git_active"
        )
        return {key: ComparedSide(name, value, bool(active)) for key, name, value, active in rows if key in blobs}
