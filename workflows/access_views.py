"""The page of one member's environment permissions."""

from __future__ import annotations

import uuid
from collections import defaultdict

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import Invalid, NotFound
from core.support_rules import READS, in_support_session
from tenants.models import Grants, Membership
from tenants.pages import Visit, tenant_page
from tenants.permissions import in_words, role_grants
from tenants.scope import tenant_scope

from . import access
from .permissions import APPROVE_ENVIRONMENT, OPERATE_ENVIRONMENT

#: The name of each grant, and what it allows.
WORDS = {
    OPERATE_ENVIRONMENT: ("Operator", "captures, promotes into it, settles drift, restores"),
    APPROVE_ENVIRONMENT: ("Approver", "approves promotions into it"),
}


@in_support_session(READS)
@tenant_page(Grants.VIEW, write_grant=Grants.MANAGE_MEMBERS, methods=("GET", "HEAD", "POST"), scope=False)
def member_access(request: HttpRequest, visit: Visit, user_id: uuid.UUID) -> HttpResponse:
    """A member's grants by environment, and where each comes from. A POST saves those of single environments."""
    with tenant_scope(visit.tenant.pk):
        member = Membership.objects.select_related("user", "created_by").filter(user_id=user_id).first()
    if member is None:
        raise NotFound
    if request.method == "POST":
        given, taken = access.save_access(
            tenant_id=visit.tenant.pk, user=member.user, wanted=_wanted(request.POST.getlist("grant"))
        )
        summary = f"{given} given, {taken} taken." if given or taken else "Nothing had changed."
        messages.success(request, f"{member.user}: {summary}")
        return redirect("member-access", tenant_slug=visit.tenant.slug, user_id=user_id)
    context = {
        "member": member,
        "rows": access.access_of(tenant_id=visit.tenant.pk, user_id=user_id),
        "words": WORDS,
        "role_grants": in_words(role_grants(member.role)),
        "may_manage": visit.may(Grants.MANAGE_MEMBERS),
        "nav_section": "members",
    }
    return render(request, "workflows/access.html", context)


def _wanted(entries: list[str]) -> dict[uuid.UUID, frozenset[str]]:
    """From the form's ``<environment>:<grant>``."""
    wanted: dict[uuid.UUID, set[str]] = defaultdict(set)
    for one in entries:
        environment, _, grant = one.partition(":")
        try:
            wanted[uuid.UUID(environment)].add(grant)
        except ValueError as error:
            raise Invalid(details={"grant": one[:100]}) from error
    return {environment: frozenset(grants) for environment, grants in wanted.items()}
