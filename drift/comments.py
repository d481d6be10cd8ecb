"""Comments on what drifted: whoever sees the incident may comment, also after it is settled."""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import reverse

from tenants.models import User
from tenants.pages import Visit
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.discussing import comments
from workflows.discussing.comments import Subject
from workflows.discussing.reading import Discussion, Thread, comments_of

from . import services
from .domain_events import publish_comment
from .models import DriftIncident, DriftKind, IncidentComment

NODES_OFFERED = 20
"""Changed nodes that can be commented on where the page does not show them one by one."""


def subject_of(incident: DriftIncident) -> Subject[IncidentComment]:
    """The incident, as what comments are about."""
    key = {"incident_id": incident.pk}
    return Subject(tenant_id=incident.tenant_id, model=IncidentComment, key=key, noun="drift incident")


def add(*, tenant_id: uuid.UUID, incident_id: uuid.UUID, node: str = "", text: str, by: User) -> IncidentComment:
    """Say something about what drifted, or a node of it. Raises ``NotFound``, ``Invalid`` or ``Conflict``."""
    incident = services.incident_by_id(tenant_id, incident_id)
    before, after = compared(incident)
    return comments.add(
        subject_of(incident),
        text=text,
        by=by,
        publish=lambda comment: publish_comment(incident, comment),
        node=node,
        before_hash=before,
        after_hash=after,
    )


def compared(incident: DriftIncident) -> tuple[str, str]:
    """The hashes of what was approved and what was seen; '' where there is none."""
    seen = incident.details
    draft = incident.kind == DriftKind.DRAFT
    before, after = (
        (seen.git_draft_hash, seen.env_draft_hash) if draft else (seen.git_content_hash, seen.env_content_hash)
    )
    return before or "", after or ""


def discussion(visit: Visit, incident: DriftIncident) -> Discussion:
    """What was said of an incident, for whoever looks. Outside any scope."""
    with tenant_scope(visit.tenant.pk):
        said = comments_of(subject_of(incident))
    before, after = compared(incident)
    url = reverse("drift-comments", kwargs={"tenant_slug": visit.tenant.slug, "pk": incident.pk})
    return Discussion(said, real_person(visit.user), url, before, after, ident="incident")


def beside(said: Discussion, shown: dict[str, Any]) -> list[Thread]:
    """The threads of nodes that stand beside a difference, ``shown`` as ``incident_diff.context`` gives it.

    Line by line each node carries its own thread; elsewhere the changed ones are offered.
    """
    if "text" in shown:
        return said.beside(shown["text"].nodes)
    changes = shown["diff"].changes if "diff" in shown else ()
    offered = list(dict.fromkeys(change.node for change in changes if change.node))[:NODES_OFFERED]
    return said.beside((), offered=offered)
