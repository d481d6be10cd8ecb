"""What is said of an incident, sent by the forms of its page."""

from __future__ import annotations

import uuid
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from core.support_rules import WRITES, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from workflows.discussing import answering

from . import comments, services


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("POST",))
def discuss(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Comment, edit, delete, resolve or reopen; answers the thread, or leads back to the incident."""
    incident = services.incident_by_id(visit.tenant.pk, pk)
    here = reverse("drift-incident", kwargs={"tenant_slug": visit.tenant.slug, "pk": pk})
    return answering.answer(
        request,
        comments.subject_of(incident),
        partial(comments.add, tenant_id=visit.tenant.pk, incident_id=pk, by=visit.user),
        by=visit.user,
        discussion=lambda: comments.discussion(visit, incident),
        back=lambda: f"{here}#comments",
    )
