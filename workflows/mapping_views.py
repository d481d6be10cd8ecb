"""The pages of workflow mapping and credential mapping."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import Invalid, NotFound, OpsError
from core.htmx import is_partial
from core.ids import uuid_or_not_found
from core.support_rules import NEVER, READS_AND_WRITES, in_support_session
from core.wording import counted
from tenants.models import Grants
from tenants.pages import Visit, tenant_page

from . import credentials as credential_mapping
from . import identity, selectors, surroundings
from .around_pairs import groups
from .forms import CredentialForm
from .models import CredentialMapping, Environment, MapStatus, WorkflowEnvMap
from .normalization import DATA_TABLE
from .permissions import may_operate, require_operate

TABS = (
    (MapStatus.UNMAPPED, "To confirm"),
    ("", "All"),
    ("workflows", "In n8n"),
    ("drifted", "Drifted"),
    (MapStatus.LINKED, "Linked"),
    (MapStatus.MISSING, "Missing"),
    (MapStatus.IGNORED, "Ignored"),
)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"))
def mapping(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """The workflow behind each n8n id of an environment; unconfirmed ones come first."""
    environment = selectors.environment_or_404(pk)
    if request.method == "POST":
        require_operate(visit, environment)
        messages.success(request, _decide(visit, environment, request.POST))
        return redirect(request.get_full_path())
    counts = selectors.environment_counts().get(pk, {})
    default = MapStatus.UNMAPPED if counts.get("unmapped") else ""
    status = request.GET.get("status", default)
    q = request.GET.get("q", "")[:200]
    page = selectors.mapping_page(
        environment=environment, status=status, q=q, cursor=request.GET.get("cursor", ""), limit=50
    )
    waiting = [row for row in page.rows if row.status == MapStatus.UNMAPPED]
    offered = selectors.candidates_for(waiting) if waiting else {}
    context = {
        "environment": environment,
        "rows": [{"mapping": row, "candidates": offered.get(row.pk, [])} for row in page.rows],
        "page": page,
        "tabs": [(value, label, counts.get(value)) for value, label in TABS],
        "status": status,
        "q": q,
        "may_operate": may_operate(visit, environment),
        "nav_section": "environments",
    }
    return render(request, "workflows/mapping.html#list" if is_partial(request) else "workflows/mapping.html", context)


def _decide(visit: Visit, environment: Environment, data: QueryDict) -> str:
    """Carry out one decision about one workflow of the environment; the sentence to show."""
    map_id = uuid_or_not_found(data.get("place", ""))
    mapping = WorkflowEnvMap.objects.filter(pk=map_id, environment=environment).first()
    if mapping is None:
        raise NotFound
    decide = _DECISIONS.get(data.get("action", ""))
    if decide is None:
        raise Invalid("There is no such decision.")
    outcome = decide({"tenant_id": visit.tenant.pk, "map_id": map_id}, data)
    return f"“{mapping.env_name or 'The workflow without a name'}” {outcome}"


def _link(which: dict[str, Any], data: QueryDict) -> str:
    key = data.get("key", "").strip()
    if not key:
        raise Invalid("Enter the key of the workflow it is.", details={"key": ["Needed."]})
    identity.link(**which, key=key)
    return f"is now {key}."


def _confirm(which: dict[str, Any], _data: QueryDict) -> str:
    identity.confirm(**which)
    return "is a workflow of its own."


def _separate(which: dict[str, Any], _data: QueryDict) -> str:
    return f"is now {identity.separate(**which).canonical_workflow.key}."


def _ignore(which: dict[str, Any], _data: QueryDict) -> str:
    identity.ignore(**which)
    return "is ignored from now on."


def _include(which: dict[str, Any], _data: QueryDict) -> str:
    identity.restore_ignored(**which)
    return "is included again."


#: By the name of the action: carries it out and ends the sentence that begins with the workflow's name.
_DECISIONS: dict[str, Callable[[dict[str, Any], QueryDict], str]] = {
    "link": _link,
    "confirm": _confirm,
    "separate": _separate,
    "ignore": _ignore,
    "restore": _include,
}


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"))
def credentials(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Which credential of the target replaces each of the source."""
    columns = selectors.environments()
    if request.method == "POST":
        source, target = _pair(columns, request.POST.get("source", ""), request.POST.get("target", ""))
        require_operate(visit, target)
        messages.success(request, _map(visit, source, target, request.POST))
        query = urlencode({"source": source.slug, "target": target.slug})
        return redirect(f"{reverse('credentials', kwargs={'tenant_slug': visit.tenant.slug})}?{query}")
    context: dict[str, Any] = {"environments": columns, "nav_section": "environments", "form": CredentialForm()}
    if len(columns) >= 2:
        asked = request.GET.get("source", columns[0].slug), request.GET.get("target", columns[1].slug)
        source, target = _named(columns, *asked)
        context["source"] = source
        if source != target:
            context |= _mapping_context(visit, source, target)
    return render(request, "workflows/credentials.html", context)


def _mapping_context(visit: Visit, source: Environment, target: Environment) -> dict[str, Any]:
    rows = credential_mapping.credential_rows(source_environment_id=source.pk, target_environment_id=target.pk)
    mapped = {
        m.source_credential_id: (m.target_credential_id, m.target_name)
        for m in CredentialMapping.objects.filter(
            source_environment=source, target_environment=target, credential_type=DATA_TABLE
        )
    }
    around = [surroundings.stored(visit.tenant.pk, side.pk) for side in (source, target)]
    return {
        "groups": groups(around[0], around[1], mapped),
        "target": target,
        "rows": rows,
        "suggested": sum(row.state == "suggested" for row in rows),
        "may_operate": may_operate(visit, target),
    }


def _named(columns: list[Environment], source: str, target: str) -> tuple[Environment, Environment]:
    by_slug = {environment.slug: environment for environment in columns}
    if source not in by_slug or target not in by_slug:
        raise NotFound
    return by_slug[source], by_slug[target]


def _pair(columns: list[Environment], source: str, target: str) -> tuple[Environment, Environment]:
    if source == target:
        raise Invalid("Choose two different environments.", recovery="Set From and To to different ones.")
    return _named(columns, source, target)


def _map(visit: Visit, source: Environment, target: Environment, data: Any) -> str:
    pair: dict[str, Any] = {"source_environment_id": source.pk, "target_environment_id": target.pk}
    if data.get("action") == "accept":
        count = credential_mapping.accept_suggestions(tenant_id=visit.tenant.pk, by=visit.user, **pair)
        return f"Mapped {counted(count, 'credential')} by type and name."
    if data.get("action") == "remove":
        mapping_id = uuid_or_not_found(data.get("mapping", ""))
        credential_mapping.delete_mapping(tenant_id=visit.tenant.pk, mapping_id=mapping_id)
        return "The mapping was removed."
    chosen = data.get("target_credential_id", "")
    offered = {
        c.credential_id: c
        for row in credential_mapping.credential_rows(**pair)
        if row.credential_type == data.get("credential_type")
        for c in row.choices
    }
    if chosen not in offered:
        raise Invalid(
            f"{target.name} is not known to have that credential.",
            recovery=f"Choose one from the list, or enter the credential of {target.name} first.",
        )
    mapped = credential_mapping.CredentialPair(
        credential_type=data.get("credential_type", ""),
        source_name=data.get("source_name", ""),
        source_credential_id=data.get("source_credential_id", ""),
        target_name=offered[chosen].name,
        target_credential_id=chosen,
    )
    mapping = credential_mapping.save_mapping(tenant_id=visit.tenant.pk, pair=mapped, by=visit.user, **pair)
    return f"“{mapping.source_name}” becomes “{mapping.target_name}” in {target.name}."


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, methods=("POST",))
def credential_enter(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Enter a credential of the target by hand."""
    columns = selectors.environments()
    source, target = _pair(columns, request.POST.get("source", ""), request.POST.get("target", ""))
    require_operate(visit, target)
    form = CredentialForm(request.POST)
    if form.is_valid():
        try:
            credential_mapping.enter_credential(
                tenant_id=visit.tenant.pk, environment_id=target.pk, **form.cleaned_data
            )
        except OpsError as error:
            form.add_error(None, error.message)
    if form.errors:
        context = {
            "environments": columns,
            "source": source,
            "form": form,
            "form_open": True,
            "nav_section": "environments",
            **_mapping_context(visit, source, target),
        }
        return render(request, "workflows/credentials.html", context, status=422)
    messages.success(request, f"{target.name} is now known to have it.")
    query = urlencode({"source": source.slug, "target": target.slug})
    return redirect(f"{reverse('credentials', kwargs={'tenant_slug': visit.tenant.slug})}?{query}")
