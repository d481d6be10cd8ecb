"""Pages of a tenant about itself: members, tokens, settings.

They run outside the tenant's scope: giving roles is the platform's work, and a scope does not open inside another.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core import clock
from core.errors import Conflict, Forbidden, Invalid, NotFound, OpsError
from core.support_rules import NEVER, READS, in_support_session

from . import invitations, people, selectors, services
from .forms import MemberForm, ServiceAccountForm, SettingsForm, TokenForm
from .invitation_views import say_sent, within_own_grants
from .models import ApiToken, Grants, TenantRole, User
from .pages import Visit, tenant_page
from .permissions import in_words
from .scope import tenant_scope
from .tokens import create_token, revoke_token, rotate_token

MANAGE: dict[str, Any] = {"write_grant": Grants.MANAGE_MEMBERS, "methods": ("POST",), "scope": False}
#: What each role is for, in the words of the Members page.
ROLE_WORDS = {
    TenantRole.OWNER: "Everything, also members and settings.",
    TenantRole.OPERATOR: "Captures, promotes, settles drift, restores; makes tokens.",
    TenantRole.APPROVER: "Approves or rejects promotions; reads the trail.",
    TenantRole.VIEWER: "Looks, changes nothing.",
}


def _show_members(request: HttpRequest, visit: Visit, form: MemberForm, status: int = 200) -> HttpResponse:
    q, narrow = request.GET.get("q", "").strip(), request.GET.get("narrow") == "1"
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_members(q=q, narrow=narrow, cursor=request.GET.get("cursor", ""))
        counts = selectors.role_counts()
        invited = invitations.unanswered() if visit.may(Grants.MANAGE_MEMBERS) else []
    context: dict[str, Any] = {
        "page": page,
        "q": q,
        "narrow": narrow,
        "form": form,
        "roles": [
            (value, label, ROLE_WORDS[TenantRole(value)], counts.get(value, 0)) for value, label in TenantRole.choices
        ],
        "role_choices": TenantRole.choices,
        "invited": invited,
        "now": clock.now(),
        "may_manage": visit.may(Grants.MANAGE_MEMBERS),
        "nav_section": "members",
    }
    return render(request, "tenants/members.html", context, status=status)


@in_support_session(READS)
@tenant_page(Grants.VIEW, write_grant=Grants.MANAGE_MEMBERS, methods=("GET", "HEAD", "POST"), scope=False)
def members(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Who is in the tenant; a POST invites somebody by e-mail address."""
    if request.method != "POST":
        return _show_members(request, visit, MemberForm())
    form = MemberForm(request.POST)
    if not form.is_valid():
        return _show_members(request, visit, form, 422)
    given = form.cleaned_data
    within_own_grants(visit, given["role"])
    try:
        row, path = invitations.invite(
            tenant=visit.tenant, email=given["email"], name=given["name"], role=given["role"], by=visit.user
        )
    except (Invalid, Conflict) as error:
        form.add_error("email", error.message)
        return _show_members(request, visit, form, 422)
    say_sent(request, visit, row, path)
    return redirect("members", tenant_slug=visit.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, **MANAGE)
def member_role(request: HttpRequest, visit: Visit, user_id: uuid.UUID) -> HttpResponse:
    role = request.POST.get("role", "")
    within_own_grants(visit, role)
    try:
        membership = people.change_role(tenant=visit.tenant, user_id=user_id, role=role, by=visit.user)
        messages.success(request, f"{membership.user} is {membership.get_role_display().lower()} now.")
    except services.LastOwner as error:
        messages.error(request, f"{error.message} {error.recovery}")
    return redirect("members", tenant_slug=visit.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, **MANAGE)
def member_remove(request: HttpRequest, visit: Visit, user_id: uuid.UUID) -> HttpResponse:
    try:
        user = people.remove_member(tenant=visit.tenant, user_id=user_id)
    except services.LastOwner as error:
        messages.error(request, f"{error.message} {error.recovery}")
        return redirect("members", tenant_slug=visit.tenant.slug)
    messages.success(request, f"{user} is no longer a member.")
    if user_id == visit.user.pk and not visit.is_platform_admin:
        return redirect("/")
    return redirect("members", tenant_slug=visit.tenant.slug)


# ---- tokens


def _holders(visit: Visit) -> list[tuple[str, str]]:
    """For whom the visitor may make a token: themselves, and machines that may do no more than they."""
    machines = [
        (str(m.user_id), f"{m.user.name or m.user.email} (service account, {m.get_role_display().lower()})")
        for m in selectors.service_accounts()
        if people.role_is_within(m.role, visit.grants)
    ]
    return [(str(visit.user.pk), f"{visit.user.email} (you)"), *machines]


def _token_state(token: ApiToken) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= clock.now() else "active"


def _say_what_may_be_done(token: Any, user: User, *, everybody: bool) -> None:
    """For the page: the token's state, and whether its visitor may rotate or revoke it."""
    token.state = _token_state(token)
    own = token.user_id == user.pk
    token.may_rotate = token.state == "active" and (own or (everybody and token.user.is_service))
    token.may_revoke = token.state == "active" and (everybody or own)


def _show_tokens(
    request: HttpRequest,
    visit: Visit,
    *,
    form: TokenForm | None = None,
    service_form: ServiceAccountForm | None = None,
    made: tuple[ApiToken, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    everybody = visit.may(Grants.MANAGE_MEMBERS)
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_tokens(user=visit.user, everybody=everybody, cursor=request.GET.get("cursor", ""))
        machines = selectors.service_accounts()
        form = form or TokenForm(holders=_holders(visit))
    for row in page.rows:
        _say_what_may_be_done(row, visit.user, everybody=everybody)
    token, secret = made or (None, "")
    response = render(
        request,
        "tenants/tokens.html",
        {
            "page": page,
            "form": form,
            "service_form": service_form or ServiceAccountForm(),
            "machines": machines,
            "made": token,
            "secret": secret,
            "base_url": request.build_absolute_uri("/").rstrip("/"),
            "everybody": everybody,
            "nav_section": "tokens",
        },
        status=status,
    )
    if made:
        response["Cache-Control"] = "no-store"
    return response


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_TOKENS, methods=("GET", "HEAD", "POST"), scope=False)
def tokens(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The tenant's tokens; a POST makes one and answers with the secret, this once."""
    if request.method != "POST":
        return _show_tokens(request, visit)
    with tenant_scope(visit.tenant.pk):
        form = TokenForm(request.POST, holders=_holders(visit))
    if not form.is_valid():
        return _show_tokens(request, visit, form=form, status=422)
    given = form.cleaned_data
    holder = people.get_person(given["holder"])
    beyond = set(given["permissions"]) - visit.grants
    if beyond:
        form.add_error("permissions", f"Not yours to give: {', '.join(sorted(beyond))}.")
        return _show_tokens(request, visit, form=form, status=422)
    made = create_token(
        user=holder,
        name=given["name"],
        tenant=visit.tenant,
        created_by=visit.user,
        expires_in_days=given["expires"] or None,
        permissions=given["permissions"],
    )
    return _show_tokens(request, visit, made=made, status=201)


def _token_to_change(visit: Visit, pk: uuid.UUID) -> ApiToken:
    with tenant_scope(visit.tenant.pk):
        token = ApiToken.objects.select_related("user", "tenant").filter(pk=pk).first()
    if token is None or token.tenant_id != visit.tenant.pk:
        raise NotFound
    if token.user_id != visit.user.pk and not visit.may(Grants.MANAGE_MEMBERS):
        raise Forbidden("Only owners change tokens of others.")
    return token


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_TOKENS, methods=("POST",), scope=False)
def token_rotate(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """A new secret for the same use, shown this once; the old one goes on for as long as was chosen."""
    token = _token_to_change(visit, pk)
    if token.user_id != visit.user.pk and not token.user.is_service:
        raise Forbidden("A person's token is rotated by that person alone: the secret is theirs.")
    hours = request.POST.get("keep_old_hours", "0")
    if not hours.isdecimal():
        raise Invalid("How long the old token lives is a number of hours.")
    made = rotate_token(token=token, by=visit.user, keep_old_hours=int(hours))
    return _show_tokens(request, visit, made=made, status=201)


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_TOKENS, methods=("POST",), scope=False)
def token_revoke(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    token = _token_to_change(visit, pk)
    revoke_token(token_id=str(pk), tenant=visit.tenant)
    messages.success(request, f"The token {token.name} opens nothing any more.")
    return redirect("tokens", tenant_slug=visit.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.MANAGE_TOKENS, write_grant=Grants.MANAGE_MEMBERS, methods=("POST",), scope=False)
def service_account_create(request: HttpRequest, visit: Visit) -> HttpResponse:
    form = ServiceAccountForm(request.POST)
    if form.is_valid():
        within_own_grants(visit, form.cleaned_data["role"])
        try:
            user = people.create_service_account(
                tenant=visit.tenant,
                name=form.cleaned_data["service_name"],
                role=form.cleaned_data["role"],
                by=visit.user,
            )
            messages.success(request, f"{user.name} is ready. Make a token for it.")
            return redirect("tokens", tenant_slug=visit.tenant.slug)
        except OpsError as error:
            taken = isinstance(error, Conflict)
            form.add_error(
                "service_name", "A service account of this name is already here." if taken else error.message
            )
    return _show_tokens(request, visit, service_form=form, status=422)


# ---- settings


@in_support_session(READS)
@tenant_page(Grants.VIEW, write_grant=Grants.ADMINISTER, methods=("GET", "HEAD", "POST"), scope=False)
def settings(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Name and Git remote of the tenant."""
    tenant = visit.tenant
    if request.method == "POST":
        form = SettingsForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            secret = "" if given["forget_secret"] else given["git_remote_secret"] or None
            try:
                services.update_settings(
                    tenant=tenant,
                    name=given["name"],
                    git_remote_url=given["git_remote_url"],
                    secret=secret,
                    username=given["git_remote_username"],
                    known_hosts=given["git_remote_known_hosts"],
                )
            except Invalid as error:
                for name, message in error.details.items():
                    form.add_error(name, message)
            else:
                messages.success(request, "The settings are saved.")
                return redirect("tenant-settings", tenant_slug=tenant.slug)
    else:
        remote = ("git_remote_url", "git_remote_username", "git_remote_known_hosts")
        form = SettingsForm(initial={name: getattr(tenant, name) for name in ("name", *remote)})
    context = {
        "form": form,
        "has_secret": bool(tenant.git_remote_secret),
        "may_administer": visit.may(Grants.ADMINISTER),
        "grants": in_words(visit.grants),
        "nav_section": "tenant-settings",
    }
    return render(request, "tenants/settings.html", context, status=422 if form.errors else 200)
