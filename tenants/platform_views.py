"""Pages of platform admins: tenants and people."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import Forbidden, NotFound, OpsError
from core.support_rules import LEAVES, in_support_session

from . import people, selectors, services
from .forms import PersonForm, TenantForm
from .models import PlatformRole, User
from .pages import platform_page
from .permissions import is_platform_admin
from .requests import person_of

KINDS = (
    ("", "All"),
    ("admins", "Platform admins"),
    (PlatformRole.SUPPORT, "Support"),
    (PlatformRole.COMPLIANCE_OFFICER, "Compliance"),
    ("service", "Service accounts"),
    ("inactive", "Shut out"),
)


def sees_all_tenants(user: User) -> bool:
    """Whether the list of every tenant is the person's to see."""
    return user.role in (PlatformRole.SUPPORT, PlatformRole.COMPLIANCE_OFFICER) or is_platform_admin(user)


@in_support_session(LEAVES)
@platform_page(methods=("GET", "HEAD", "POST"))
def tenants(request: HttpRequest) -> HttpResponse:
    """Every tenant; a POST by a platform admin makes one."""
    user = person_of(request)
    admin = is_platform_admin(user)
    if not sees_all_tenants(user) or (request.method == "POST" and not admin):
        raise Forbidden(
            "Only platform staff see the list of all tenants.", recovery="Your own tenants are on the estate page."
        )
    form = TenantForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            owner = User.objects.filter(email__iexact=given["owner"], is_service=False).first()
            created = owner is None
            owner = owner or services.create_user(email=given["owner"])
            tenant = services.create_tenant(name=given["name"], slug=given["slug"], owner=owner)
        except services.SlugTaken as error:
            form.add_error("slug", error.message)
        except OpsError as error:
            form.add_error(None, error.message)
        else:
            if created and not people.mail_sign_in_link(
                user=owner, base_url=request.build_absolute_uri("/"), tenant=tenant
            ):
                messages.warning(request, f"{owner.email} needs a sign-in link: make one on the page of people.")
            messages.success(request, f"{tenant.name} is ready.")
            return redirect("tenants")
    page = selectors.list_tenants(q=request.GET.get("q", "").strip(), cursor=request.GET.get("cursor", ""))
    context = {"page": page, "form": form, "q": request.GET.get("q", ""), "may_create": admin, "nav_section": "tenants"}
    return render(request, "tenants/tenants.html", context, status=422 if form.errors else 200)


def _show_people(
    request: HttpRequest, form: PersonForm, *, link_for: User | None = None, status: int = 200
) -> HttpResponse:
    q, kind = request.GET.get("q", "").strip(), request.GET.get("kind", "")
    context = {
        "page": selectors.list_people(q=q, kind=kind, cursor=request.GET.get("cursor", "")),
        "form": form,
        "q": q,
        "kind": kind,
        "kinds": KINDS,
        "platform_roles": [
            (role.value, "None" if role == PlatformRole.MEMBER else role.label) for role in PlatformRole
        ],
        "link_for": link_for,
        "link": _link(request, link_for) if link_for else "",
        "nav_section": "people",
    }
    response = render(request, "tenants/people.html", context, status=status)
    if link_for:
        response["Cache-Control"] = "no-store"
    return response


def _link(request: HttpRequest, person: User) -> str:
    by = request.user if isinstance(request.user, User) else None
    return request.build_absolute_uri(people.show_sign_in_link(user=person, by=by))


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("GET", "HEAD", "POST"))
def people_page(request: HttpRequest) -> HttpResponse:
    """Everybody who may sign in; a POST adds a person. Without mail it shows the link for the first password, once."""
    if request.method != "POST":
        return _show_people(request, PersonForm())
    form = PersonForm(request.POST)
    if form.is_valid():
        try:
            user = services.create_user(**form.cleaned_data)
        except OpsError as error:
            form.add_error("email", error.message)
        else:
            if people.mail_sign_in_link(user=user, base_url=request.build_absolute_uri("/")):
                messages.success(request, f"{user.email} was invited by e-mail.")
                return redirect("people")
            return _show_people(request, PersonForm(), link_for=user, status=201)
    return _show_people(request, form, status=422)


def _set_role(request: HttpRequest, person: User, by: User) -> str:
    people.set_platform_role(user=person, role=request.POST.get("role", ""), by=by)
    return f"{person} has another role on the platform now."


def _shut_out(_request: HttpRequest, person: User, by: User) -> str:
    people.set_active(user=person, active=False, by=by)
    return f"{person} is shut out; sign-ins and tokens have ended."


def _let_return(_request: HttpRequest, person: User, by: User) -> str:
    people.set_active(user=person, active=True, by=by)
    return f"{person} may sign in again. Revoked tokens stay revoked."


def _make_admin(_request: HttpRequest, person: User, by: User) -> str:
    services.make_platform_admin(user=person, by=by)
    return f"{person} is a platform admin now."


def _remove_admin(_request: HttpRequest, person: User, by: User) -> str:
    people.remove_platform_admin(user=person, by=by)
    return f"{person} is no longer a platform admin."


def _sign_out(_request: HttpRequest, person: User, by: User) -> str:
    ended = people.end_sign_ins(user=person, by=by, why="signed out by a platform admin")
    return f"{ended} sign-in{'' if ended == 1 else 's'} of {person} ended."


#: What can be done to a person; each does it and returns the sentence for the page.
_ACTS: dict[str, Callable[[HttpRequest, User, User], str]] = {
    "role": _set_role,
    "shut-out": _shut_out,
    "return": _let_return,
    "make-admin": _make_admin,
    "remove-admin": _remove_admin,
    "sign-out": _sign_out,
}


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("POST",))
def person_act(request: HttpRequest, pk: uuid.UUID, what: str) -> HttpResponse:
    """One change to one person: a sign-in link, or one of ``_ACTS``."""
    person, by = people.get_person(pk), person_of(request)
    if what == "link":
        return _give_link(request, person, by)
    if what not in _ACTS:
        raise NotFound
    messages.success(request, _ACTS[what](request, person, by))
    return redirect("people")


def _give_link(request: HttpRequest, person: User, by: User) -> HttpResponse:
    """To the person alone where that can be: whoever reads the link becomes them."""
    if person.is_service or not person.is_active:
        raise Forbidden("This account does not sign in.")
    if is_platform_admin(person) and person.pk != by.pk and person.has_usable_password():
        raise Forbidden("Another platform admin's password is theirs to reset.", recovery="Use the e-mailed reset.")
    if people.mail_sign_in_link(user=person, base_url=request.build_absolute_uri("/")):
        messages.success(request, f"A link to choose a password is on its way to {person.email}.")
        return redirect("people")
    return _show_people(request, PersonForm(), link_for=person)
