"""What the demo's support engineers do: reads, writes, a try that is refused, a session that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from audit.services import record_event
from core import context
from core import support as reading
from impersonation import services as support
from impersonation.models import ImpersonationSession
from tenants.models import Tenant, User
from tenants.scope import tenant_scope

DOOR = {"ip_address": "192.0.2.77", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "source": "web"}


def try_the_admin(people: Mapping[str, User]) -> None:
    """A place that nobody takes; the try is on record."""
    with context.acting(**DOOR), contextlib.suppress(support.ImpersonationBlocked):
        support.start_session(
            actor=people["support"],
            target=people["admin"],
            tenant=None,
            reason="Looking for the setting",
            origin=support.RequestOrigin(),
        )


def look_along(tenant: Tenant, people: Mapping[str, User]) -> None:
    """A session that runs: somebody on duty looks at what the viewer sees."""
    with context.acting(**DOOR):
        running = support.start_session(
            actor=people["duty"],
            target=people["viewer"],
            tenant=tenant,
            reason="The customer cannot find the snapshot of Monday",
            ticket="4830",
            origin=support.RequestOrigin(),
        )
        with inside(running, reading.READ_ONLY):
            note_request(tenant, "READ", "GET", "snapshots/", 200)


@contextlib.contextmanager
def inside(session: ImpersonationSession, mode: str) -> Iterator[None]:
    """What a request of the session runs in."""
    force = reading.InForce(session_id=session.pk, tenant_id=session.impersonated_tenant_id, mode=mode)
    people = {"actor_id": session.actor_user_id, "acting_as_id": session.impersonated_user_id}
    with reading.in_force(force), context.acting(session_id=session.pk, **people):
        yield


def note_request(
    tenant: Tenant, action: str, method: str, page: str, status: int, *, code: str = "", **body: str
) -> None:
    """A request into the trail, as the console records those of a session."""
    details = {"method": method, "path": f"/t/{tenant.slug}/{page}", "response_status": status, "code": code}
    details |= {"request_body": body} if method == "POST" else {}
    with reading.suspended(), tenant_scope(tenant.pk):
        record_event(action=action, resource_type="requests", tenant_id=tenant.pk, details=details)
