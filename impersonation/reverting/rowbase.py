"""How a row that a session wrote is judged and reverted: by three values, in one transaction, through its service.

The app that owns the rows subclasses ``RowReverter`` and declares an instance in its ``console.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from audit.presenters import page_of_subject
from core.errors import OpsError
from core.registry import registry
from core.whose import Whose, whose
from operations.effects import ProbeResult
from operations.engine import Run
from tenants.models import User

from .changes import Change, last_writer, rows_now, same, shown
from .items import Fact, Item, Verdict, outcome, person_of

Row = dict[str, Any]
DERIVED = "It follows from something else, and goes with it."


class RowReverter:
    """Rows of the table ``name``. ``columns`` are written back, and have their labels; others are left alone.

    ``kind`` is what one row is called, if not as its ``Subject`` says. ``large_columns`` are never read.
    Rows that are the subject of a job of ``job_kind`` which the session started are reverted as that job.
    """

    name: str
    kind: str = ""
    columns: ClassVar[Mapping[str, str]] = {}
    large_columns: ClassVar[tuple[str, ...]] = ()
    job_kind: str = ""

    # -- what a subclass may define -------------------------------------------------------------------------------

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        """Write ``change.before`` back. In the tenant's scope; raises what the service raises."""
        raise NotImplementedError

    def remove_created(self, change: Change, by: User) -> None:
        """Remove what the session created."""
        raise NotImplementedError

    def recreate_deleted(self, change: Change, by: User) -> None:
        """Create again what the session deleted."""
        raise NotImplementedError

    def defaults(self) -> Row | None:
        """What holds where there is no row; None where no row means nothing."""
        return None

    def replacement(self, change: Change) -> Row | None:
        """The row that now takes the place of one that the session deleted."""
        return None

    def note(self, change: Change) -> str:
        """What cannot be reverted of it, and what to do instead."""
        return ""

    def label(self, change: Change, now: Row | None) -> str:
        """What people call it."""
        return change.name or change.pk[:8]

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        """A verdict that needs no comparison, with its reason; else None."""
        return None

    def text(self, column: str, value: Any) -> str:
        return shown(value)

    # -- judging --------------------------------------------------------------------------------------------------

    def rows(self, keys: list[str], *, lock: bool = False) -> dict[str, Row]:
        return rows_now(self.name, keys, lock=lock, without=self.large_columns)

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        found = self.rows([change.pk], lock=lock).get(change.pk)
        return found if found is not None or not change.deleted else self.replacement(change)

    def changed_columns(self, change: Change) -> list[str]:
        """The columns to write back: all of them where a row came or went, else those that the session changed."""
        if change.created or change.deleted:
            return list(self.columns)
        return [column for column in self.columns if column in (change.before or {})]

    def before(self, change: Change) -> Row | None:
        return self.defaults() if change.created else change.before

    def with_values_before(self, change: Change, now: Row | None) -> Row:
        """The row as it is, with the session's changes taken out."""
        before = self.before(change) or {}
        return {**(now or {}), **{column: before[column] for column in self.changed_columns(change)}}

    def judge(self, change: Change, now: Row | None) -> Verdict:
        """Compare the row as it is with the one before the session and the one that the session left."""
        columns, before = self.changed_columns(change), self.before(change)
        if same(now, before, columns):
            return Verdict.UNDONE
        if now is None or before is None or change.after is None:
            return Verdict.READY if same(now, change.after, columns) else Verdict.CONFLICT
        foreign = [
            column
            for column in columns
            if whose(now.get(column), before=before.get(column), ours=(change.after.get(column),)) == Whose.FOREIGN
        ]
        return Verdict.CONFLICT if foreign else Verdict.READY

    def items(self, changes: list[Change], slug: str) -> list[Item]:
        """The items of this table's changes. Needs the tenant's scope."""
        return [self.item(change, slug) for change in changes]

    def item(self, change: Change, slug: str) -> Item:
        now = self.read(change)
        verdict, reason = self._verdict(change, now)
        return Item(
            id=f"{self.name}:{change.pk}",
            kind=self.kind or registry.noun(change.table),
            name=self.label(change, now),
            did="Created" if change.created else "Deleted" if change.deleted else "Changed",
            verdict=verdict,
            why=reason,
            url=page_of_subject(change.table, change.pk, slug) if now is not None else "",
            facts=self.facts(change, now),
            order=change.at,
            target=change.to_dict(),
        )

    def _verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str]:
        if fixed := self.fixed_verdict(change, now):
            return fixed
        note = self.note(change)
        if not self.changed_columns(change):
            return (Verdict.IMPOSSIBLE, note) if note else (Verdict.NOTHING, DERIVED)
        verdict = self.judge(change, now)
        return verdict, f"{_changed_since(change)}. {note}".strip() if verdict == Verdict.CONFLICT else note

    def facts(self, change: Change, now: Row | None) -> tuple[Fact, ...]:
        sides = (self.before(change), change.after, now)
        return tuple(
            Fact(self.columns[c], *(self.text(c, side.get(c)) if side is not None else shown(None) for side in sides))
            for c in self.changed_columns(change)
        )

    # -- reverting ------------------------------------------------------------------------------------------------

    def revert(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        """In one transaction: read the row with a lock, write it back, read it again."""
        change = Change(**item.target)
        by = person_of(run)
        with run.fenced():
            now = self.read(change, lock=True)
            verdict = self.judge(change, now)
            if verdict == Verdict.UNDONE:
                return outcome("already", "It is as it was before the session.")
            if verdict == Verdict.CONFLICT and not force:
                return outcome("conflict", f"{_changed_since(change)}; left as it is.")
            self._write(change, now, by)
            if self.judge(change, self.read(change)) != Verdict.UNDONE:
                raise OpsError("It did not become as it was before.", recovery="Look at its page and settle it there.")
        return outcome("undone", self.note(change))

    def _write(self, change: Change, now: Row | None, by: User) -> None:
        if change.created and self.defaults() is None:
            self.remove_created(change, by)
        elif now is None or change.deleted:
            self.recreate_deleted(change, by)
        else:
            self.write_back(change, now, by)

    def probe(self, run: Run, item: Item) -> ProbeResult:
        change = Change(**item.target)
        with run.fenced():
            undone = self.judge(change, self.read(change)) == Verdict.UNDONE
        begun = item.verdict != Verdict.UNDONE
        return ProbeResult.done(outcome("undone", self.note(change))) if undone and begun else ProbeResult.not_done()


def _changed_since(change: Change) -> str:
    who = last_writer(change)
    return f"Changed since by {who}" if who else "Changed since"


def values_before(change: Change, *columns: str) -> dict[str, Any]:
    """Of these columns, those that the session changed, with their values before it."""
    return {name: change.before[name] for name in columns if change.before is not None and name in change.before}


def tenant_of(row: Row | None) -> uuid.UUID:
    """The tenant of a row in the trail's form."""
    return uuid.UUID(str((row or {})["tenant_id"]))


class NothingToRevert(RowReverter):
    """Rows in which there is nothing to revert, with the reason."""

    verdict = Verdict.NOTHING

    def __init__(self, table: str, reason: str) -> None:
        self.name, self.reason = table, reason

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str]:
        return self.verdict, self.reason

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        return None


class NotRevertible(NothingToRevert):
    """Rows that the console does not revert, with what to do instead."""

    verdict = Verdict.IMPOSSIBLE
