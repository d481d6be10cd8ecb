"""What Ctrl-K finds of the records: reports, support sessions, and what somebody did by the trail."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from audit.models import AuditLog
from core import clock
from impersonation import selectors as sessions
from impersonation.models import ImpersonationSession
from reports.definitions import all_reports
from reports.models import ReportRun
from tenants.models import User
from tenants.pages import Visit

EACH = 6
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Whose records are looked through: a tenant's (``visit``), or the platform's; and which of them."""

    visit: Visit | None
    sees_trail: bool
    sees_sessions: bool

    def url(self, name: str, /, **kwargs: Any) -> str:
        """The page in this place; ``name`` as a tenant calls it."""
        if self.visit is not None:
            return reverse(name, kwargs={"tenant_slug": self.visit.tenant.slug, **kwargs})
        name = {"support-access-session": "support-session"}.get(name, f"platform-{name}")
        return reverse(name, kwargs=kwargs)

    @property
    def tenant_id(self) -> uuid.UUID | None:
        return self.visit.tenant.pk if self.visit else None


def find_records(q: str, shelf: Shelf) -> list[tuple[str, list[Row]]]:
    """Groups of rows. In the scope of the shelf."""
    if rows := _by_id(q, shelf):
        return [("By id", rows)]
    found = []
    if shelf.sees_sessions:
        tenant = shelf.visit.tenant if shelf.visit else None
        page = sessions.list_sessions(q=q, tenant=tenant, limit=EACH)
        found.append(("Support sessions", [_session(row, shelf) for row in page.rows]))
    if shelf.sees_trail:
        found += [("Reports", _reports(q, shelf)), ("Trail", _people(q, shelf))]
    return found


def _session(row: ImpersonationSession, shelf: Shelf) -> Row:
    over = row.over_at(clock.now())
    where = "" if shelf.visit else f" · {row.impersonated_tenant.name}"
    return {
        "title": f"{row.actor_user} as {row.impersonated_user}",
        "hint": f"{'ended' if over else 'live'} support session{where}",
        "url": shelf.url("support-access-session", pk=row.pk),
        "state": "completed" if over else "running",
    }


def _reports(q: str, shelf: Shelf) -> list[Row]:
    """Reports that can be asked for, and the newest of those that were made."""
    titles = {r.name: r.title for r in all_reports() if all(part in r.title.lower() for part in q.lower().split())}
    made = _runs(shelf).filter(report__in=list(titles)).order_by("-created_at", "-pk")
    return [
        *({"title": title, "hint": "report", "url": shelf.url("report", name=name), "symbol": "document-chart-bar"}
          for name, title in titles.items()),
        *(_run(run, titles[run.report], shelf) for run in made[: EACH // 2]),
    ]  # fmt: skip


def _runs(shelf: Shelf) -> QuerySet[ReportRun]:
    of_place = Q(tenant=None) if shelf.visit is None else Q(tenant=shelf.visit.tenant)
    return ReportRun.objects.filter(of_place)


def _run(run: ReportRun, title: str, shelf: Shelf) -> Row:
    return {
        "title": title,
        "hint": f"made {run.created_at:%d %b %Y}, {run.get_format_display()}",
        "url": shelf.url("report-run", pk=run.pk),
        "state": run.status,
    }


def _people(q: str, shelf: Shelf) -> list[Row]:
    rows = User.objects.filter(Q(name__icontains=q) | Q(email__icontains=q))
    if shelf.tenant_id is not None:
        rows = rows.filter(memberships__tenant_id=shelf.tenant_id)
    trail = shelf.url("trail")
    return [
        {
            "title": f"What {person} did",
            "hint": person.email,
            "url": f"{trail}?person={person.pk}",
            "symbol": "clipboard-document-list",
        }
        for person in rows.order_by("email")[: EACH // 2]
    ]


def _by_id(q: str, shelf: Shelf) -> list[Row]:
    """The session, report or entry that a pasted id or number belongs to."""
    if shelf.sees_trail and q.isdecimal() and len(q) < 19 and AuditLog.objects.filter(pk=int(q)).exists():
        url = shelf.url("trail-entry", pk=int(q))
        return [{"title": f"Entry {q}", "hint": "trail", "url": url, "symbol": "clipboard-document-list"}]
    try:
        wanted = uuid.UUID(q)
    except ValueError:
        return []
    if shelf.sees_sessions and (session := sessions.session_by_id(wanted)):
        return [_session(session, shelf)]
    if shelf.sees_trail:
        run = _runs(shelf).filter(pk=wanted).first()
        titles = {report.name: report.title for report in all_reports()}
        return [_run(run, titles.get(run.report, run.report), shelf)] if run else []
    return []
