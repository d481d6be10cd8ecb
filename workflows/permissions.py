"""Who may do what in one environment.

A grant on the tenant counts in each of its environments; a grant on one environment adds to it there, and nowhere else.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from core.errors import Forbidden, Invalid, NotFound
from tenants.models import Grants, Membership, User
from tenants.scope import tenant_scope

from .models import Environment, EnvironmentUserObjectPermission

if TYPE_CHECKING:
    from tenants.pages import Visit

OPERATE_ENVIRONMENT = "operate_environment"
APPROVE_ENVIRONMENT = "approve_environment"
ENVIRONMENT_GRANTS = (OPERATE_ENVIRONMENT, APPROVE_ENVIRONMENT)


def grants_on_environment(*, user_id: uuid.UUID, environment: Environment) -> frozenset[str]:
    """The codenames that a person holds on this environment alone. Opens the tenant's scope itself."""
    with tenant_scope(environment.tenant_id):
        return frozenset(
            EnvironmentUserObjectPermission.objects.filter(
                user_id=user_id, content_object_id=environment.pk
            ).values_list("permission__codename", flat=True)
        )


def may_operate(visit: Visit, environment: Environment) -> bool:
    """Whether the visitor may capture, promote into, reconcile, stabilize and restore the environment."""
    return _may(visit, environment, Grants.OPERATE, OPERATE_ENVIRONMENT)


def may_approve(visit: Visit, environment: Environment) -> bool:
    """Whether the visitor may approve promotions into the environment."""
    return _may(visit, environment, Grants.APPROVE, APPROVE_ENVIRONMENT)


def require_operate(visit: Visit, environment: Environment) -> None:
    """Raise ``Forbidden`` unless ``may_operate``."""
    if not may_operate(visit, environment):
        raise Forbidden(details={"needed": OPERATE_ENVIRONMENT, "environment": environment.slug})


def require_approve(visit: Visit, environment: Environment) -> None:
    """Raise ``Forbidden`` unless ``may_approve``."""
    if not may_approve(visit, environment):
        raise Forbidden(details={"needed": APPROVE_ENVIRONMENT, "environment": environment.slug})


def _may(visit: Visit, environment: Environment, tenant_grant: str, environment_grant: str) -> bool:
    if visit.tenant is None or environment.tenant_id != visit.tenant.pk:
        return False
    if visit.may(tenant_grant):
        return True
    if visit.narrowed_to is not None and tenant_grant not in visit.narrowed_to:
        return False
    return environment_grant in grants_on_environment(user_id=visit.user.pk, environment=environment)


def set_environment_grants(*, environment: Environment, user: User, grants: frozenset[str] | set[str]) -> None:
    """Replace a member's own grants on the environment.

    Raises ``NotFound`` for a person who is no member, ``Invalid`` for an unknown grant.
    """
    unknown = set(grants) - set(ENVIRONMENT_GRANTS)
    if unknown:
        raise Invalid(details={"grants": f"unknown: {', '.join(sorted(unknown))}"})
    with tenant_scope(environment.tenant_id):
        if not Membership.objects.filter(user=user).exists():
            raise NotFound("That person is not a member of this tenant.", recovery="Invite them first.")
        content_type = ContentType.objects.get_for_model(Environment)
        permissions = {
            p.codename: p for p in Permission.objects.filter(content_type=content_type, codename__in=ENVIRONMENT_GRANTS)
        }
        held = EnvironmentUserObjectPermission.objects.filter(user=user, content_object=environment)
        held.exclude(permission__codename__in=grants).delete()
        present = set(held.values_list("permission__codename", flat=True))
        EnvironmentUserObjectPermission.objects.bulk_create(
            [
                EnvironmentUserObjectPermission(
                    tenant_id=environment.tenant_id,
                    user=user,
                    content_object=environment,
                    permission=permissions[codename],
                )
                for codename in sorted(set(grants) - present)
            ]
        )
