"""Pages of bottles."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse

from core.errors import NotFound
from core.support_rules import READS, READS_AND_WRITES, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page

from .models import Bottle


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def bottles(request: HttpRequest, visit: Visit) -> HttpResponse:
    return HttpResponse(", ".join(Bottle.objects.values_list("name", flat=True)))


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("GET", "HEAD", "POST"))
def bottle(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    found = Bottle.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound
    return HttpResponse(found.name)
