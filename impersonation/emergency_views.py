"""The page of emergency acts for one tenant: all of them for platform admins, some for its owners."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from audit import presenters
from audit.selectors import people_of
from core.errors import Forbidden
from core.support_rules import NEVER, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import platform_scope

from . import emergency, factors
from .forms import EmergencyForm

DRAFT = "emergency_draft"
#: What each act is called, and what it does and keeps.
WORDS = {
    emergency.END_SESSIONS: (
        "End support sessions",
        "Pages, streams and jobs of support stop within seconds. What was done stays on record and can be reverted.",
    ),
    emergency.REVOKE_TOKENS: (
        "Revoke all tokens",
        "Programs that use them are refused at once. Create new ones on the page Tokens.",
    ),
    emergency.SIGN_OUT: (
        "Sign everyone out",
        "Everyone has to sign in again. Passwords, second factors and tokens stay valid.",
    ),
    emergency.RESET: (
        "Reset all credentials",
        "Passwords, sign-ins and tokens stop working. Each person sets a new password through “Forgot your password?”"
        " or a sign-in link from People. Second factors stay valid.",
    ),
}
#: What the API lets platform admins do here with a reason (``workflows.emergency``), as the list names it.
OVER_THE_API = {
    "capture": "Captured an environment",
    "stabilize": "Stabilized drift",
    "restore": "Restored a snapshot",
}
OF_OWNERS = {
    emergency.REVOKE_TOKENS: "Programs that use tokens bound to this tenant are refused at once. Its people’s own"
    " tokens, which may open other tenants, stay valid: platform admins can revoke those.",
}


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, methods=("GET", "HEAD", "POST"), scope=False)
def page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What can be done and whom it would affect; a POST does it."""
    if not (visit.is_platform_admin or visit.may(Grants.ADMINISTER)):
        raise Forbidden("Only platform admins and the tenant's owners see this page.")
    acts = emergency.ACTS if visit.is_platform_admin else emergency.ACTS_OF_OWNERS
    key = f"{DRAFT}:{visit.tenant.slug}"
    if request.method != "POST":
        return _show(
            request, visit, EmergencyForm(initial=request.session.pop(key, None), acts=acts, slug=visit.tenant.slug)
        )
    form = EmergencyForm(request.POST, acts=acts, slug=visit.tenant.slug)
    if not form.is_valid():
        return _show(request, visit, form)
    fields = form.cleaned_data
    # Ending sessions must not wait, and owners may do their acts elsewhere without a second factor.
    if visit.is_platform_admin and fields["what"] != emergency.END_SESSIONS and not factors.is_fresh(request):
        request.session[key] = fields
        messages.info(request, "Confirm it is you, then continue. Your input is kept.")
        back_to = reverse("tenant-emergency", kwargs={"tenant_slug": visit.tenant.slug})
        return redirect(factors.confirm_url(visit.user, back_to))
    message = emergency.act(
        tenant=visit.tenant,
        what=fields["what"],
        by=visit.user,
        reason=fields["reason"],
        as_owner=not visit.is_platform_admin,
    )
    messages.success(request, message)
    return redirect("tenant-emergency", tenant_slug=visit.tenant.slug)


def _show(request: HttpRequest, visit: Visit, form: EmergencyForm) -> HttpResponse:
    as_owner = not visit.is_platform_admin
    chosen = form["what"].value()
    done = emergency.acts_of(tenant=visit.tenant)
    with platform_scope():
        entries = presenters.present(done, people=people_of(done), slug=visit.tenant.slug)
    context: dict[str, Any] = {
        "form": form,
        "acts": [
            {
                "what": what,
                "title": WORDS[what][0],
                "effect": OF_OWNERS.get(what, WORDS[what][1]) if as_owner else WORDS[what][1],
                "affected": emergency.affected(tenant=visit.tenant, what=what, as_owner=as_owner),
                "chosen": what == chosen,
            }
            for what in form.acts
        ],
        "done": [{**entry, "title": _title(entry["row"])} for entry in entries],
        "as_owner": as_owner,
        "nav_section": "tenant-settings",
    }
    return render(request, "impersonation/emergency.html", context, status=422 if form.errors else 200)


def _title(row: Any) -> str:
    what = str(row.details.get("what", ""))
    return WORDS[what][0] if what in WORDS else OVER_THE_API.get(what, what)
