"""Environment permissions: who may do what in which environment, and where each grant comes from."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.db.models import QuerySet

from audit.models import AuditLog
from tenants.environment_grants import EnvironmentGrant
from tenants.models import Grants, User
from tenants.permissions import grants_on_tenant
from tenants.scope import tenant_scope

from .models import Environment, EnvironmentUserObjectPermission
from .permissions import APPROVE_ENVIRONMENT, ENVIRONMENT_GRANTS, OPERATE_ENVIRONMENT, set_environment_grants

#: The grant on the whole tenant that holds the one on an environment.
WIDER = {OPERATE_ENVIRONMENT: Grants.OPERATE, APPROVE_ENVIRONMENT: Grants.APPROVE}
LISTED = 50
#: The role that a grant on one environment gives there.
ROLES = {OPERATE_ENVIRONMENT: "operator", APPROVE_ENVIRONMENT: "approver"}


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """One grant in one environment: through the person's role everywhere, for this environment alone, both or not."""

    grant: str
    by_role: bool = False
    own: bool = False
    given_at: datetime | None = None
    given_by: User | None = None


def access_of(*, tenant_id: uuid.UUID, user_id: uuid.UUID) -> list[tuple[Environment, list[HeldGrant]]]:
    """Each environment of the tenant with what the person holds there, in the order of ``ENVIRONMENT_GRANTS``."""
    with tenant_scope(tenant_id):
        everywhere = grants_on_tenant(user_id=user_id, tenant_id=tenant_id)
        rows = EnvironmentUserObjectPermission.objects.filter(user_id=user_id).select_related("permission")
        own = {(row.content_object_id, row.permission.codename): row.pk for row in rows}
        given = _given(list(own.values()))
        environments = Environment.objects.filter(is_archived=False).order_by("position", "name")
        return [
            (one, [_held(grant, everywhere, own.get((one.pk, grant)), given) for grant in ENVIRONMENT_GRANTS])
            for one in environments
        ]


def _held(
    grant: str, everywhere: frozenset[str], row: int | None, given: Mapping[str, tuple[datetime, User | None]]
) -> HeldGrant:
    at, by = given.get(str(row), (None, None))
    return HeldGrant(grant, by_role=WIDER[grant] in everywhere, own=row is not None, given_at=at, given_by=by)


def _given(rows: list[int]) -> dict[str, tuple[datetime, User | None]]:
    """When and by whom each of these grants was given, by the audit trail."""
    if not rows:
        return {}
    entries = AuditLog.objects.filter(
        resource_type=EnvironmentUserObjectPermission._meta.db_table,
        action="CREATE",
        object_pk__in=[str(row) for row in rows],
    )
    records = list(entries.order_by("created_at", "pk").values_list("object_pk", "created_at", "actor_user_id"))
    people = User.objects.only("id", "name", "email").in_bulk({actor for *_, actor in records if actor})
    return {row: (at, people.get(actor)) for row, at, actor in records}


def save_access(*, tenant_id: uuid.UUID, user: User, wanted: Mapping[uuid.UUID, frozenset[str]]) -> tuple[int, int]:
    """Make the person's own grants on the tenant's environments those of ``wanted``; how many were given and taken.

    An environment that is not named loses them. Raises ``NotFound`` for somebody who is no member, ``Invalid`` for an
    unknown grant.
    """
    given = taken = 0
    with tenant_scope(tenant_id):
        for environment, held in access_of(tenant_id=tenant_id, user_id=user.pk):
            before = frozenset(one.grant for one in held if one.own)
            after = wanted.get(environment.pk, frozenset())
            if before != after:
                set_environment_grants(environment=environment, user=user, grants=after)
                given, taken = given + len(after - before), taken + len(before - after)
    return given, taken


def only_in(environment: Environment) -> list[tuple[User, list[str]]]:
    """People with grants on this environment alone, by address (at most ``LISTED`` grants), and which."""
    rows = EnvironmentUserObjectPermission.objects.filter(content_object=environment)
    found = rows.select_related("user", "permission").order_by("user__email", "permission__codename")[:LISTED]
    by_person = groupby(found, key=lambda row: row.user)
    return [(user, [row.permission.codename for row in held]) for user, held in by_person]


def holders() -> QuerySet[EnvironmentUserObjectPermission, uuid.UUID]:
    """The ids of the people with grants on single environments in use (``tenants.environment_grants``)."""
    rows = EnvironmentUserObjectPermission.objects.filter(content_object__is_archived=False)
    return rows.values_list("user_id", flat=True)


def held_by(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[EnvironmentGrant]]:
    """What each of these people holds in single environments, in the order of the pipeline."""
    rows = EnvironmentUserObjectPermission.objects.filter(user_id__in=user_ids, content_object__is_archived=False)
    rows = rows.select_related("content_object", "permission").order_by(
        "user_id", "content_object__position", "content_object__name", "-permission__codename"
    )
    found: dict[uuid.UUID, list[EnvironmentGrant]] = {}
    for (user_id, environment), held in groupby(rows, key=lambda row: (row.user_id, row.content_object)):
        words = " and ".join(ROLES[row.permission.codename] for row in held)
        found.setdefault(user_id, []).append(EnvironmentGrant(environment, words))
    return found
