"""The one place where grants are read and given. Nothing else imports guardian's shortcuts.

Roles are bundles of guardian grants on the tenant. A grant on a single environment (``workflows.permissions``) adds to
them. A global grant never counts: with one, guardian's defaults would return every tenant's objects.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from core.errors import Forbidden
from core.registry import registry

from .models import Grants, Tenant, TenantRole, TenantUserObjectPermission, User

_ALL = frozenset(
    {
        Grants.VIEW,
        Grants.OPERATE,
        Grants.APPROVE,
        Grants.MANAGE_ENVIRONMENTS,
        Grants.MANAGE_MEMBERS,
        Grants.MANAGE_TOKENS,
        Grants.VIEW_TRAIL,
        Grants.ADMINISTER,
    }
)

_ROLE_GRANTS: dict[str, frozenset[str]] = {
    TenantRole.OWNER: _ALL,
    TenantRole.OPERATOR: frozenset({Grants.VIEW, Grants.OPERATE, Grants.MANAGE_TOKENS}),
    TenantRole.APPROVER: frozenset({Grants.VIEW, Grants.APPROVE, Grants.VIEW_TRAIL}),
    TenantRole.VIEWER: frozenset({Grants.VIEW}),
}


def role_grants(role: str | None) -> frozenset[str]:
    """What a role on a tenant holds: the console's own grants, and those that apps declare. None holds nothing."""
    declared = {grant.name for grant in registry.grants() if role == TenantRole.OWNER or role in grant.roles}
    return _ROLE_GRANTS.get(role or "", frozenset()) | (declared if role else frozenset())


def in_words(grants: Iterable[str]) -> list[str]:
    """What grants on a tenant allow, in sentences for people, the least first."""
    held = frozenset(grants)
    words = {
        Grants.VIEW: "Look at everything here",
        **dict(Tenant._meta.permissions),
        **{grant.name: grant.words for grant in registry.grants()},
    }
    return [text for codename, text in words.items() if codename in held]


def grants_on_tenant(*, user_id: uuid.UUID, tenant_id: uuid.UUID) -> frozenset[str]:
    """The codenames that guardian holds for a person on a tenant. Needs a scope that sees the tenant."""
    return frozenset(
        TenantUserObjectPermission.objects.filter(user_id=user_id, content_object_id=tenant_id).values_list(
            "permission__codename", flat=True
        )
    )


def require(granted: Iterable[str], needed: str) -> None:
    """Raise ``Forbidden`` unless ``needed`` is among the grants."""
    if needed not in granted:
        raise Forbidden(details={"needed": needed})


def set_role_grants(*, user: User, tenant: Tenant, role: str | None) -> None:
    """Replace a person's grants on a tenant with those of ``role`` (None: none)."""
    wanted = role_grants(role)
    content_type = ContentType.objects.get_for_model(Tenant)
    permissions = {p.codename: p for p in Permission.objects.filter(content_type=content_type)}
    held = TenantUserObjectPermission.objects.filter(user=user, content_object=tenant)
    held.exclude(permission__codename__in=wanted).delete()
    present = set(held.values_list("permission__codename", flat=True))
    TenantUserObjectPermission.objects.bulk_create(
        [
            TenantUserObjectPermission(user=user, content_object=tenant, permission=permissions[codename])
            for codename in sorted(wanted - present)
        ]
    )


def is_platform_admin(user: User) -> bool:
    """Whether the person stands in ``platform_admins`` now."""
    from .models import PlatformAdmin

    if not user.is_authenticated or not user.is_active:
        return False
    return PlatformAdmin.objects.filter(user_id=user.pk).exists()
