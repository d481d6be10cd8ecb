"""What was done in a support session, from its entries in the trail: counts, timeline, what it touched, flags."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from django.db.models import Count, Q

from audit import presenters
from audit.models import AuditLog
from audit.selectors import people_of
from core.page_names import page_name
from tenants.models import User

from .guardrails import outside_usual_hours
from .models import ImpersonationSession
from .selectors import REFUSALS, WRITES, trail_of

TIMELINE_ROWS = 200
IMPACT_ROWS = 500
#: How effects on other systems ended. What is only intended is in the timeline and not counted yet.
EFFECT_ENDS = {"EFFECT_DONE": "done", "EFFECT_FAILED": "failed", "EFFECT_UNKNOWN": "unknown"}
SYSTEMS = {"n8n": "written to n8n", "git": "approved in Git", "mail": "sent by mail"}
#: The trail's entries that a timeline of this kind shows; of another, all.
KINDS = {
    "reads": Q(action="READ"),
    "writes": Q(action__in=WRITES),
    "refusals": Q(action__in=REFUSALS),
    "effects": Q(action__startswith="EFFECT_"),
}
#: A session of so many writes, reads or refusals deserves a second look; so do sessions in so many tenants in a day.
MANY_WRITES, MANY_READS, MANY_REFUSALS, MANY_TENANTS = 50, 300, 3, 4


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
    """How much a session did, as far as the scope may see."""
    by_action: Counter[str] = Counter()
    rows = 0
    for action, kind, n in trail_of(session).order_by().values_list("action", "resource_type").annotate(n=Count("pk")):
        if action in WRITES and kind != "requests":
            rows += n
        else:
            by_action[action] += n
    return Counts(
        reads=by_action["READ"],
        requests=sum(by_action[a] for a in WRITES),
        refusals=sum(by_action[a] for a in REFUSALS),
        rows=rows,
        effects=sum(by_action[a] for a in EFFECT_ENDS),
    )


# ---- timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One entry as ``components/timeline.html`` draws it."""

    at: datetime
    actor: User | None
    as_whom: User | None
    state: str
    title: str
    text: str = ""
    url: str = ""


def timeline(session: ImpersonationSession, *, slug: str, kind: str = "") -> list[TimelineEntry]:
    """Reads, writes, refusals and their effects, newest first. ``kind`` is one of ``KINDS``, or '' for all."""
    rows = list(trail_of(session).filter(KINDS.get(kind, Q())).order_by("-created_at", "-pk")[:TIMELINE_ROWS])
    return [_timeline_entry(shown) for shown in presenters.present(rows, people=people_of(rows), slug=slug)]


def _timeline_entry(shown: Mapping[str, Any]) -> TimelineEntry:
    row: AuditLog = shown["row"]
    fields: dict[str, Any] = {
        "at": row.created_at,
        "actor": shown["actor"],
        "as_whom": shown["as_whom"],
        "url": shown["url"],
        "state": shown["state"],
        "title": f"{shown['action']} {shown['kind']} {shown['name']}".strip(),
        "text": ", ".join(shown["changed"][:8]),
    }
    return TimelineEntry(**(fields | _special_fields(row, shown)))


def _special_fields(row: AuditLog, shown: Mapping[str, Any]) -> dict[str, str]:
    """What is particular to requests, sessions' own events and effects on other systems."""
    details = row.details if isinstance(row.details, dict) else {}
    if row.resource_type == "requests":
        return _REQUEST_FIELDS.get(row.action, _write_request)(details)
    if row.action.startswith("IMPERSONATION"):
        return _session_event(row.action, details)
    if shown["call"]:
        return {"title": f"{shown['action']}: {shown['name']}", "text": shown["call"]}
    return {}


def _session_event(action: str, details: Mapping[str, Any]) -> dict[str, str]:
    if action == "IMPERSONATION_BLOCKED":
        return {"state": "failed", "text": str(details.get("reason") or details.get("why") or "")}
    return {"text": "; ".join(f"{k}: {v}" for k, v in details.items() if v and k != "break_glass")[:300]}


def _read_request(details: Mapping[str, Any]) -> dict[str, str]:
    path = str(details.get("path", ""))
    link = {"url": path} if details.get("method") == "GET" else {}
    return {"state": "inactive", "title": f"Viewed {page_name(path)}", "text": _asked_for(path), **link}


def _refused_request(details: Mapping[str, Any]) -> dict[str, str]:
    return {"state": "failed", "title": f"Refused: {_call(details)}", "text": str(details.get("code", ""))}


def _write_request(details: Mapping[str, Any]) -> dict[str, str]:
    answered = f"answered {details.get('response_status', '')}"
    return {"state": "moved", "title": f"Asked of {_call(details)}", "text": answered, "url": ""}


def _call(details: Mapping[str, Any]) -> str:
    path = str(details.get("path", ""))
    name = page_name(path)
    return f"{details.get('method', '')} {path}" if name == path else name


def _asked_for(path: str) -> str:
    """What a page was narrowed to."""
    return unquote_plus(path.partition("?")[2]).replace("&", ", ")[:200]


_REQUEST_FIELDS: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "READ": _read_request,
    "REFUSED": _refused_request,
}


# ---- what it touched


@dataclass(frozen=True, slots=True)
class Touched:
    """One object that a session touched; ``url`` is '' where it has no page."""

    id: uuid.UUID | None
    name: str
    url: str


@dataclass(slots=True)
class Impact:
    """Everything of one kind that a session touched: how often by action, and each object once by its key."""

    kind: str
    label: str
    counts: dict[str, int] = field(default_factory=dict)
    objects: dict[str, Touched] = field(default_factory=dict)

    def add(self, action: str, key: str, touched: Touched) -> None:
        self.counts[action] = self.counts.get(action, 0) + 1
        self.objects.setdefault(key, touched)


def impact(session: ImpersonationSession, *, slug: str) -> list[Impact]:
    """Everything touched, by kind: the console's own rows, the most frequent kind first, then other systems."""
    rows = trail_of(session).filter(action__in=WRITES).exclude(resource_type="requests")
    found = list(rows.order_by("-created_at", "-pk")[:IMPACT_ROWS])
    kinds: dict[str, Impact] = {}
    for shown in presenters.present(found, people=people_of(found), slug=slug):
        row: AuditLog = shown["row"]
        kind = kinds.setdefault(row.resource_type, Impact(row.resource_type, shown["kind"]))
        key = str(row.resource_id or row.pk)
        kind.add(row.action, key, Touched(row.resource_id, shown["name"] or key[:8], shown["url"]))
    return [*sorted(kinds.values(), key=lambda item: -sum(item.counts.values())), *_effects(session, slug=slug)]


def _effects(session: ImpersonationSession, *, slug: str) -> list[Impact]:
    """What a session changed in other systems, each workflow, branch or mail once."""
    rows = trail_of(session).filter(action__in=EFFECT_ENDS)
    found = list(rows.order_by("-created_at", "-pk")[:IMPACT_ROWS])
    kinds: dict[str, Impact] = {}
    for shown in presenters.present(found, people={}, slug=slug):
        row: AuditLog = shown["row"]
        system = str(row.details.get("system", ""))
        kind = kinds.setdefault(system, Impact(f"outside_{system}", SYSTEMS.get(system, system)))
        key = f"{row.resource_id}:{row.details.get('key', '')}"
        kind.add(EFFECT_ENDS[row.action], key, Touched(row.resource_id, shown["name"], shown["url"]))
    return list(kinds.values())


# ---- flags


def flags(session: ImpersonationSession, counts: Counts, *, tenants_that_day: int = 0) -> list[str]:
    """Why a session deserves a second look; empty where nothing stands out."""
    reasons = (
        (
            outside_usual_hours(session.started_at.hour),
            f"started at {session.started_at:%H:%M} UTC, outside the usual hours",
        ),
        (session.break_glass, "started as an emergency, without asking"),
        (counts.refusals >= MANY_REFUSALS, f"{counts.refusals} requests were refused"),
        (counts.writes >= MANY_WRITES, f"{counts.requests} requests wrote {counts.rows} rows"),
        (counts.reads >= MANY_READS, f"{counts.reads} pages were read"),
        (tenants_that_day >= MANY_TENANTS, f"sessions in {tenants_that_day} tenants within a day"),
        (session.ended_by_id not in (None, session.actor_user_id), "ended by somebody else"),
    )
    return [text for applies, text in reasons if applies]
