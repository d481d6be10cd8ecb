"""Reads about support sessions. The scope decides whose are seen: a tenant's, or all of them for the platform's."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from audit import presenters
from audit.selectors import TrailFilter, filtered, people_of
from core import clock
from core.paging import Page, by_time
from tenants.models import Membership, Tenant, User

from .guardrails import night
from .models import ImpersonationSession, RequestKind, SupportRequest

TIMELINE_ROWS = 200
IMPACT_ROWS = 500
WRITES = ("CREATE", "UPDATE", "DELETE")
REFUSALS = ("REFUSED", "IMPERSONATION_BLOCKED")
#: How effects on other systems ended; what is only intended is in the film strip and counts for nothing yet.
ENDED_OUTSIDE = {"EFFECT_DONE": "done", "EFFECT_FAILED": "failed", "EFFECT_UNKNOWN": "unknown"}
SYSTEMS = {"n8n": "written to n8n", "git": "approved in Git", "mail": "sent by mail"}
#: A session of so many writes or reads is looked at twice.
MANY_WRITES, MANY_READS, MANY_REFUSALS, MANY_TENANTS = 50, 300, 3, 4


def sessions() -> QuerySet[ImpersonationSession]:
    """Sessions with their people."""
    return ImpersonationSession.objects.select_related(
        "actor_user", "impersonated_user", "impersonated_tenant", "ended_by"
    )


STATES = ("live", "ended", "glass")  #: ``glass``: it was broken, an emergency


def list_sessions(
    *, state: str = "", q: str = "", tenant: Tenant | None = None, cursor: str = "", limit: int = 50
) -> Page:
    """Newest first. ``state`` is one of ``STATES``, or '' for all."""
    rows, now = sessions(), clock.now()
    if tenant is not None:
        rows = rows.filter(impersonated_tenant=tenant)
    if state == "live":
        rows = rows.filter(ended_at=None, expires_at__gt=now)
    elif state == "ended":
        rows = rows.filter(Q(ended_at__isnull=False) | Q(expires_at__lte=now))
    elif state == "glass":
        rows = rows.filter(break_glass=True)
    if q:
        staff = Q(actor_user__email__icontains=q) | Q(actor_user__name__icontains=q)
        people = Q(impersonated_user__email__icontains=q) | Q(impersonated_user__name__icontains=q)
        rows = rows.filter(
            staff | people | Q(impersonated_tenant__name__icontains=q) | Q(ticket__icontains=q) | Q(reason__icontains=q)
        )
    return by_time(rows, cursor=cursor, limit=limit, field="started_at")


def session_by_id(session_id: uuid.UUID, *, near: User | None = None) -> ImpersonationSession | None:
    """A session; with ``near`` only one that the person leads, or in a tenant that they are a member of."""
    rows = sessions().filter(pk=session_id)
    if near is not None:
        own = Membership.objects.filter(user=near).values("tenant_id")
        rows = rows.filter(Q(actor_user=near) | Q(impersonated_tenant_id__in=own))
    return rows.first()


def live_session_of(user: User) -> ImpersonationSession | None:
    """The session that a person leads now. Platform scope."""
    found = sessions().filter(actor_user=user, ended_at=None).first()
    return found if found is not None and found.is_live(clock.now()) else None


def pending_requests(tenant: Tenant | None = None) -> list[SupportRequest]:
    """Requests that wait for an answer, oldest first."""
    rows = SupportRequest.objects.select_related("requested_by", "impersonated_user", "tenant")
    rows = rows.filter(approved=None, expires_at__gt=clock.now())
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    return list(rows.order_by("created_at")[:50])


def requests_of(session: ImpersonationSession) -> list[SupportRequest]:
    """Requests for write mode in a session, newest first."""
    rows = SupportRequest.objects.filter(session_id=session.pk, kind=RequestKind.WRITE).select_related("decided_by")
    return list(rows.order_by("-created_at")[:10])


# ---- what was done in it


def trail_of(session: ImpersonationSession) -> Any:
    """The entries of a session, in the scope's sight."""
    return filtered(TrailFilter(session=str(session.pk)))


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of what a session did. ``requests`` asked to write, ``rows`` were written."""

    reads: int = 0
    requests: int = 0
    refusals: int = 0
    rows: int = 0
    effects: int = 0

    @property
    def writes(self) -> int:
        """Entries of the trail that say CREATE, UPDATE or DELETE: what the runbook counts as write operations."""
        return self.requests + self.rows


def counts_of(session: ImpersonationSession) -> Counts:
    found: Counter[str] = Counter()
    rows = 0
    for action, kind, n in trail_of(session).order_by().values_list("action", "resource_type").annotate(n=Count("pk")):
        if action in WRITES and kind != "requests":
            rows += n
        else:
            found[action] += n
    return Counts(
        reads=found["READ"],
        requests=sum(found[a] for a in WRITES),
        refusals=sum(found[a] for a in REFUSALS),
        rows=rows,
        effects=sum(found[a] for a in ENDED_OUTSIDE),
    )


def timeline(session: ImpersonationSession, *, slug: str, kind: str = "") -> list[dict[str, Any]]:
    """The film strip, newest first: reads, writes, refusals, and what followed from them."""
    rows = trail_of(session)
    if kind == "reads":
        rows = rows.filter(action="READ")
    elif kind == "writes":
        rows = rows.filter(action__in=WRITES)
    elif kind == "refusals":
        rows = rows.filter(action__in=REFUSALS)
    elif kind == "effects":
        rows = rows.filter(action__startswith="EFFECT_")
    found = list(rows.order_by("-created_at", "-pk")[:TIMELINE_ROWS])
    people = people_of(found)
    return [_entry(shown) for shown in presenters.present(found, people=people, slug=slug)]


def _entry(shown: dict[str, Any]) -> dict[str, Any]:
    row = shown["row"]
    details = row.details if isinstance(row.details, dict) else {}
    entry = {
        "row": row, "at": row.created_at, "actor": shown["actor"], "as_whom": shown["as_whom"], "url": shown["url"],
        "state": shown["state"], "title": f"{shown['action']} {shown['kind']} {shown['name']}".strip(),
        "text": ", ".join(shown["changed"][:8]), "source": shown["source"], "film": "event",
    }  # fmt: skip
    if row.action in WRITES:
        entry["film"] = "effect"
    elif shown["call"]:
        entry |= {"film": "outside", "title": f"{shown['action']}: {shown['name']}", "text": shown["call"]}
    if row.resource_type == "requests":
        said = f"{details.get('method', '')} {details.get('path', '')}"
        answered = f"answered {details.get('response_status', '')}"
        if row.action == "READ":
            entry |= {"film": "read", "state": "inactive", "title": f"Looked at {details.get('path', '')}", "text": ""}
            if details.get("method") == "GET":
                entry["url"] = str(details.get("path", ""))
        elif row.action == "REFUSED":
            entry |= {
                "film": "refusal",
                "state": "failed",
                "title": f"Refused: {said}",
                "text": details.get("code", ""),
            }
        else:
            entry |= {"film": "write", "state": "moved", "title": f"Asked for {said}", "text": answered, "url": ""}
    elif row.action == "IMPERSONATION_BLOCKED":
        entry |= {"film": "refusal", "state": "failed", "text": str(details.get("reason") or details.get("why") or "")}
    elif row.action.startswith("IMPERSONATION"):
        entry["text"] = "; ".join(f"{k}: {v}" for k, v in details.items() if v and k not in ("break_glass",))[:300]
    return entry


@dataclass(slots=True)
class Impact:
    """Everything of one kind that a session touched."""

    kind: str
    label: str
    counts: dict[str, int] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)


def impact(session: ImpersonationSession, *, slug: str) -> list[Impact]:
    """Everything touched, by kind, each object once with a link where it has a page."""
    rows = trail_of(session).filter(action__in=WRITES).exclude(resource_type="requests")
    found = list(rows.order_by("-created_at", "-pk")[:IMPACT_ROWS])
    kinds: dict[str, Impact] = {}
    for shown in presenters.present(found, people=people_of(found), slug=slug):
        row = shown["row"]
        kind = kinds.setdefault(row.resource_type, Impact(row.resource_type, shown["kind"]))
        kind.counts[row.action] = kind.counts.get(row.action, 0) + 1
        key = str(row.resource_id or row.pk)
        kind.objects.setdefault(key, {"name": shown["name"] or key[:8], "url": shown["url"], "id": row.resource_id})
    return [*sorted(kinds.values(), key=lambda item: -sum(item.counts.values())), *_outside(session, slug=slug)]


def _outside(session: ImpersonationSession, *, slug: str) -> list[Impact]:
    """What a session changed in other systems, each workflow, branch or mail once."""
    rows = trail_of(session).filter(action__in=ENDED_OUTSIDE)
    found = list(rows.order_by("-created_at", "-pk")[:IMPACT_ROWS])
    kinds: dict[str, Impact] = {}
    for shown in presenters.present(found, people={}, slug=slug):
        row = shown["row"]
        system = str(row.details.get("system", ""))
        kind = kinds.setdefault(system, Impact(f"outside_{system}", SYSTEMS.get(system, system)))
        ending = ENDED_OUTSIDE[row.action]
        kind.counts[ending] = kind.counts.get(ending, 0) + 1
        thing = {"name": shown["name"], "url": shown["url"], "id": row.resource_id}
        kind.objects.setdefault(f"{row.resource_id}:{row.details.get('key', '')}", thing)
    return list(kinds.values())


def flags(session: ImpersonationSession, counts: Counts, *, tenants_that_day: int = 0) -> list[str]:
    """Why a session deserves a second look; empty: nothing stands out."""
    found = []
    if night(session.started_at.hour):
        found.append(f"begun at {session.started_at:%H:%M} UTC, outside the usual hours")
    if session.break_glass:
        found.append("begun as an emergency, without asking")
    if counts.refusals >= MANY_REFUSALS:
        found.append(f"{counts.refusals} things were refused")
    if counts.writes >= MANY_WRITES:
        found.append(f"{counts.requests} requests wrote {counts.rows} rows")
    if counts.reads >= MANY_READS:
        found.append(f"{counts.reads} pages were read")
    if tenants_that_day >= MANY_TENANTS:
        found.append(f"sessions in {tenants_that_day} tenants within a day")
    if session.ended_by_id and session.ended_by_id != session.actor_user_id:
        found.append("ended by somebody else")
    return found


def tenants_within_a_day(session: ImpersonationSession) -> int:
    """In how many tenants the same person had sessions within a day around this one. Platform scope."""
    day = timedelta(hours=12)
    rows = ImpersonationSession.objects.filter(
        actor_user=session.actor_user_id, started_at__range=(session.started_at - day, session.started_at + day)
    )
    return rows.values("impersonated_tenant").distinct().count()


def candidates(*, tenant: Tenant, q: str = "") -> list[User]:
    """Members of a tenant whose place might be taken, by address. Platform scope."""
    rows = User.objects.filter(memberships__tenant=tenant, is_active=True, is_service=False)
    if q:
        rows = rows.filter(Q(email__icontains=q) | Q(name__icontains=q))
    return list(rows.order_by("email")[:50])


def find_tenants(q: str) -> list[Tenant]:
    """Tenants by name or short name. Platform scope."""
    rows = Tenant.objects.all()
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    return list(rows.order_by("name")[:20])


def session_row(session: ImpersonationSession, now: datetime) -> dict[str, Any]:
    """JSON-able facts for the API: the runbook's columns and more."""
    over = session.over_at(now)
    return {
        "id": str(session.pk),
        "session_id": str(session.pk),
        "actor_user_id": str(session.actor_user_id),
        "actor_email": session.actor_user.email,
        "impersonated_user_id": str(session.impersonated_user_id),
        "impersonated_email": session.impersonated_user.email,
        "impersonated_tenant_id": str(session.impersonated_tenant_id),
        "tenant_name": session.impersonated_tenant.name,
        "tenant_slug": session.impersonated_tenant.slug,
        "mode": session.mode,
        "reason": session.reason,
        "ticket": session.ticket,
        "break_glass": session.break_glass,
        "started_at": session.started_at,
        "expires_at": session.expires_at,
        "last_seen_at": session.last_seen_at,
        "ended_at": over,
        "ended_by": str(session.ended_by_id) if session.ended_by_id else None,
        "end_reason": session.end_reason,
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
        "active": over is None,
    }
