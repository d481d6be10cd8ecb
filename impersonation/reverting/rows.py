"""Rows that a session wrote itself, each judged by the reverter of the app that owns its table."""

from __future__ import annotations

from typing import ClassVar

from core import clock
from core.registry import registry
from impersonation.models import ImpersonationSession
from operations.models import Schedule
from tenants.models import User

from .changes import Change, changes_of
from .items import Item, Verdict
from .jobbase import jobs_of
from .rowbase import DERIVED, NotRevertible, Row, RowReverter

UNKNOWN = "The console cannot revert this: the audit trail's entry says what it was."


class Schedules(RowReverter):
    """Schedules. Those that follow a setting of their app go with the setting."""

    name = "schedules"
    kind = "schedule"
    columns: ClassVar = {"is_enabled": "Runs", "every_seconds": "Every (seconds)"}

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        kind = (now or change.after or change.before or {}).get("kind")
        declared = registry.job_kinds().get(str(kind))
        if now is None or (declared is not None and declared.schedule_follows_setting):
            return Verdict.NOTHING, DERIVED
        return None

    def defaults(self) -> Row:
        return {"is_enabled": False}

    def changed_columns(self, change: Change) -> list[str]:
        return ["is_enabled"] if change.created else super().changed_columns(change)

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        before = {column: (self.before(change) or {})[column] for column in self.changed_columns(change)}
        Schedule.objects.filter(pk=change.pk).update(**before, updated_at=clock.now())


_MEMBERS = "Set it again on the page of members; the trail's entry says what it was."
#: Of the tables below support sessions.
ROW_REVERTERS: tuple[RowReverter, ...] = (
    Schedules(),
    *(NotRevertible(table, _MEMBERS) for table in ("users", "memberships", "tenant_grants")),
    NotRevertible("api_tokens", "Revoke the token on its page."),
)


def row_reverter(table: str) -> RowReverter:
    """Of the app that owns the table; without one its rows are shown with what to do instead."""
    found: RowReverter | None = registry.row_reverters().get(table)
    return found or NotRevertible(table, UNKNOWN)


def row_items(session: ImpersonationSession, slug: str) -> tuple[list[Item], bool]:
    """Every row that the session wrote itself, and whether there were too many. Needs the tenant's scope."""
    changes, too_many = changes_of(session)
    job_subjects = {(job.kind, str(job.subject_id)) for job in jobs_of(session)}
    tables: dict[str, list[Change]] = {}
    for change in changes:
        if (row_reverter(change.table).job_kind, change.pk) not in job_subjects:
            tables.setdefault(change.table, []).append(change)
    found: list[Item] = []
    for table, group in tables.items():
        found += row_reverter(table).items(group, slug)
    return found, too_many
