"""The people of the demo and their places. One password for all; it is printed, so it protects nothing."""

from __future__ import annotations

from dataclasses import dataclass

from tenants import services
from tenants.models import PlatformRole, Tenant, TenantRole, User
from tenants.scope import platform_scope

PASSWORD = "lantern-harbour-42"  # noqa: S105 -- known to everybody who starts the demo


@dataclass(frozen=True, slots=True)
class Person:
    address: str
    name: str
    what: str
    platform_role: str = "member"


PEOPLE: dict[str, Person] = {
    "admin": Person("admin@demo.example", "Ada Whitlock", "platform admin: sees every tenant"),
    "owner": Person("owner@demo.example", "Olive Marsh", "owner of Larkfield Outdoors"),
    "operator": Person("operator@demo.example", "Oskar Lindqvist", "operator: captures, promotes, settles drift"),
    "approver": Person("approver@demo.example", "Priya Raman", "approver: decides on promotions to production"),
    "viewer": Person("viewer@demo.example", "Viktor Hale", "viewer: may look"),
    "support": Person("support@demo.example", "Sunniva Berg", "support engineer of the platform", PlatformRole.SUPPORT),
    "second": Person(
        "second@demo.example", "Tomas Reyes", "second support engineer: agrees to writing", PlatformRole.SUPPORT
    ),
    "duty": Person(
        "duty@demo.example", "Nadia Brandt", "support engineer on duty: in a support session", PlatformRole.SUPPORT
    ),
    "compliance": Person(
        "compliance@demo.example", "Conrad Okoye", "compliance officer", PlatformRole.COMPLIANCE_OFFICER
    ),
}
ROLES = {"operator": TenantRole.OPERATOR, "approver": TenantRole.APPROVER, "viewer": TenantRole.VIEWER}


def make_people() -> dict[str, User]:
    """Everybody, those who are there already included."""
    people = {}
    for word, person in PEOPLE.items():
        with platform_scope():
            known = User.objects.filter(email__iexact=person.address).first()
        people[word] = known or services.create_user(
            email=person.address, name=person.name, password=PASSWORD, role=person.platform_role
        )
    services.make_platform_admin(user=people["admin"], by=None)
    return people


def make_tenant(name: str, slug: str, people: dict[str, User]) -> Tenant:
    """A tenant with the demo's owner and staff."""
    tenant = services.create_tenant(name=name, slug=slug, owner=people["owner"])
    for word, role in ROLES.items():
        services.set_membership(tenant=tenant, user=people[word], role=role, by=people["owner"])
    return tenant


def accounts() -> str:
    """The accounts as lines for a person."""
    rows = [f"  {person.address:<26} {person.what}" for person in PEOPLE.values()]
    return "\n".join([f"Accounts of the demo (password of each: {PASSWORD}):", *rows])
