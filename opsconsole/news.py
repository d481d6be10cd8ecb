"""Whether anything has changed since a list was drawn: lists that are open ask it, and are drawn anew where it has.

What changes a row of the console stands in the trail; how far jobs are does not, so the newest of them are asked too.
"""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from audit.models import AuditLog
from core.support_rules import LEAVES, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import platform_scope

JOBS_LOOKED_AT = 50


def _latest(tenant_id: uuid.UUID | None) -> float:
    """When something last changed, as a timestamp; 0 for never. Needs a scope that sees it."""
    entries, jobs = AuditLog.objects.all(), Operation.objects.all()
    if tenant_id is not None:
        entries, jobs = entries.filter(tenant_id=tenant_id), jobs.filter(tenant_id=tenant_id)
    moments = list(entries.order_by("-created_at", "-id").values_list("created_at", flat=True)[:1])
    if tenant_id is not None:
        moments += jobs.order_by("-created_at", "-pk").values_list("updated_at", flat=True)[:JOBS_LOOKED_AT]
    return max((moment.timestamp() for moment in moments), default=0.0)


# A look in a support session is an entry of the customer's trail: there no page asks by itself.
@never_cache
@in_support_session(LEAVES)
@tenant_page(Grants.VIEW)
def tenant_news(request: HttpRequest, visit: Visit) -> HttpResponse:
    """``{"at": …}``: when something of the tenant last changed."""
    return JsonResponse({"at": _latest(visit.tenant.pk)})


@never_cache
@in_support_session(LEAVES)
@require_GET
@login_required
def platform_news(request: HttpRequest) -> HttpResponse:
    """``{"at": …}``: when something anywhere last changed."""
    with platform_scope():
        return JsonResponse({"at": _latest(None)})
