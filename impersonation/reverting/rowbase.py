"""How a row that a session wrote is judged and put back: by three values, in one transaction, through its service."""

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


class RowReverter:
    """Rows of one table. ``columns`` are those that are put back, with their words; all others are left alone."""

    name: str
    kind: str = ""
    columns: ClassVar[Mapping[str, str]] = {}

    # -- what a kind may say of its own ---------------------------------------------------------------------------

    def put_back(self, change: Change, now: Row | None, by: User) -> None:
        """Write ``change.before`` back. In the tenant's scope; raises what the service raises."""
        raise NotImplementedError

    def remove(self, change: Change, by: User) -> None:
        """Take away what the session made."""
        raise NotImplementedError

    def remake(self, change: Change, by: User) -> None:
        """Make again what the session deleted."""
        raise NotImplementedError

    def defaults(self) -> Row | None:
        """What holds where there is no row; None where no row means nothing."""
        return None

    def twin(self, change: Change) -> Row | None:
        """What stands now in the place of a row that the session deleted."""
        return None

    def note(self, change: Change) -> str:
        """What cannot be put back of it, and what to do instead."""
        return ""

    def called(self, change: Change, now: Row | None) -> str:
        """What people call it."""
        return change.name or change.pk[:8]

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        """A verdict that needs no comparison, or None."""
        return None

    def text(self, column: str, value: Any) -> str:
        return shown(value)

    # -- judging --------------------------------------------------------------------------------------------------

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        found = rows_now(self.name, [change.pk], lock=lock).get(change.pk)
        return found if found is not None or not change.deleted else self.twin(change)

    def concerned(self, change: Change) -> list[str]:
        """The columns to put back: all of them where a row came or went, else those that the session changed."""
        if change.created or change.deleted:
            return list(self.columns)
        return [column for column in self.columns if column in (change.before or {})]

    def before(self, change: Change) -> Row | None:
        return self.defaults() if change.created else change.before

    def judge(self, change: Change, now: Row | None) -> Verdict:
        """By what stands there: before, as the session left it, or neither."""
        columns, before = self.concerned(change), self.before(change)
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
        told = self.settled(change, now)
        if told is None and not self.concerned(change):
            told = (Verdict.IMPOSSIBLE, self.note(change)) if self.note(change) else (Verdict.NOTHING, DERIVED)
        verdict, why = told or (self.judge(change, now), self.note(change))
        if verdict == Verdict.CONFLICT:
            who = last_writer(change)
            why = f"Changed since{f' by {who}' if who else ''}. {why}".strip()
        return Item(
            id=f"{self.name}:{change.pk}",
            kind=self.kind or registry.noun(change.table),
            name=self.called(change, now),
            did="Created" if change.created else "Deleted" if change.deleted else "Changed",
            verdict=verdict,
            why=why,
            url=page_of_subject(change.table, change.pk, slug) if now is not None else "",
            facts=self.facts(change, now),
            order=change.at,
            target=change.to_dict(),
        )

    def facts(self, change: Change, now: Row | None) -> tuple[Fact, ...]:
        sides = (self.before(change), change.after, now)
        return tuple(
            Fact(self.columns[c], *(self.text(c, side.get(c)) if side is not None else shown(None) for side in sides))
            for c in self.concerned(change)
        )

    # -- undoing --------------------------------------------------------------------------------------------------

    def undo(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        """In one transaction: look with the row locked, put back, look again."""
        change = Change(**item.target)
        by = person_of(run)
        with run.fenced():
            now = self.read(change, lock=True)
            verdict = self.judge(change, now)
            if verdict == Verdict.UNDONE:
                return outcome("already", "It is as it was before the session.")
            if verdict == Verdict.CONFLICT and not force:
                who = last_writer(change)
                return outcome("conflict", f"Changed since{f' by {who}' if who else ''}; left as it is.")
            self.write(change, now, by)
            if self.judge(change, self.read(change)) != Verdict.UNDONE:
                raise OpsError("It did not become as it was before.", recovery="Look at its page and settle it there.")
        return outcome("undone", self.note(change))

    def write(self, change: Change, now: Row | None, by: User) -> None:
        if change.created and self.defaults() is None:
            self.remove(change, by)
        elif now is None or change.deleted:
            self.remake(change, by)
        else:
            self.put_back(change, now, by)

    def look(self, run: Run, item: Item) -> ProbeResult:
        change = Change(**item.target)
        with run.fenced():
            undone = self.judge(change, self.read(change)) == Verdict.UNDONE
        begun = item.verdict != Verdict.UNDONE
        return ProbeResult.done(outcome("undone", self.note(change))) if undone and begun else ProbeResult.not_done()


DERIVED = "It follows from something else, and goes with it."


def former(change: Change, *names: str) -> dict[str, Any]:
    """Of these columns, those that the session changed, as they were before."""
    return {name: change.before[name] for name in names if change.before is not None and name in change.before}


class Kept(RowReverter):
    """Rows in which there is nothing to undo, with the reason."""

    def __init__(self, table: str, why: str) -> None:
        self.name, self.why = table, why

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str]:
        return Verdict.NOTHING, self.why

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        return None


class Elsewhere(Kept):
    """Rows that the console does not undo for anybody, with what to do instead."""

    def settled(self, change: Change, now: Row | None) -> tuple[Verdict, str]:
        return Verdict.IMPOSSIBLE, self.why


def tenant_of(row: Row | None) -> uuid.UUID:
    """The tenant of a row in the trail's form."""
    return uuid.UUID(str((row or {})["tenant_id"]))
