"""What a platform admin may do in a tenant without a role there: with a reason, on record, told to its owners.

Three calls of the API, for outages that reach over many tenants: capture, stabilize, restore. All else stays with those
who hold a role.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from django.http import HttpRequest
from ninja import Header

from audit.models import AuditLog
from audit.services import record_event
from core import clock, support
from impersonation import alerts
from tenants.pages import Visit
from tenants.requests import token_of
from tenants.scope import platform_scope

from .errors import ReasonNeeded, ReasonUnusable
from .models import Environment
from .permissions import may_operate, require_operate

HEADER = "X-OpsConsole-Reason"
SHORTEST, LONGEST = 10, 500
#: Owners get one mail for the same kind of act with the same reason within this time; the trail has each.
ONE_MAIL = timedelta(hours=1)

Reason = Annotated[
    str,
    Header(
        alias=HEADER,
        description="Needed by platform admins without a role in the tenant: why they act there, in 10 to 500"
        " characters. It is recorded in the tenant's trail, and its owners get it by mail.",
    ),
]


class What(StrEnum):
    """The acts, as the trail keeps them."""

    CAPTURE = "capture"
    STABILIZE = "stabilize"
    RESTORE = "restore"


_WORDS = {What.CAPTURE: "captured", What.STABILIZE: "stabilized drift in", What.RESTORE: "restored a snapshot into"}


@dataclass(frozen=True, slots=True)
class EmergencyAct:
    """An act that was permitted. ``record`` comes before it is carried out."""

    visit: Visit
    environment: Environment
    what: What
    reason: str

    def record(self) -> None:
        """Into the trail of the tenant, and by mail to its owners. What cannot be recorded is not done."""
        tenant = self.visit.tenant
        with platform_scope():
            if not self._was_told():
                alerts.admin_acted(by=self.visit.user, tenant=tenant, did=self._did(), reason=self.reason)
            record_event(
                action="TENANT_EMERGENCY",
                resource_type="environments",
                resource_id=self.environment.pk,
                tenant_id=tenant.pk,
                name=self.environment.name,
                details={"what": str(self.what), "reason": self.reason, "count": 1},
            )

    def _did(self) -> str:
        return f"{_WORDS[self.what]} {self.environment.name}"

    def _was_told(self) -> bool:
        same = AuditLog.objects.filter(
            tenant_id=self.visit.tenant.pk,
            action="TENANT_EMERGENCY",
            actor_user_id=self.visit.user.pk,
            created_at__gt=clock.now() - ONE_MAIL,
            details__what=str(self.what),
            details__reason=self.reason,
        )
        return same.exists()


def permit(
    request: HttpRequest, visit: Visit, environment: Environment, *, what: What, reason: str
) -> EmergencyAct | None:
    """Raise ``Forbidden`` unless the caller may operate the environment, or may act as the platform's admin.

    None for those who may operate it anyway: to them a reason changes nothing. Never in a support session, nor with a
    token that is bound or narrowed.
    """
    if may_operate(visit, environment):
        return None
    if not _acts_for_the_platform(request, visit):
        require_operate(visit, environment)
    said = " ".join(_decoded(reason).split())
    if not said:
        raise ReasonNeeded(details={"header": HEADER, "environment": environment.slug})
    if not SHORTEST <= len(said) <= LONGEST:
        raise ReasonUnusable(details={"header": HEADER, "length": len(said)})
    return EmergencyAct(visit, environment, what, said)


def _acts_for_the_platform(request: HttpRequest, visit: Visit) -> bool:
    token = token_of(request)
    unbound = token.tenant_id is None and not token.permissions
    return visit.is_platform_admin and unbound and not visit.user.is_service and support.current() is None


def _decoded(header: str) -> str:
    """Programs send UTF-8, which arrives as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
