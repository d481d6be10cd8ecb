"""Reading an environment's executions in bounded rounds; what is not read yet is recorded as a gap.

n8n lists executions by falling number and leaves out those that are running, unless it is asked for them. So a round
asks for the running ones first; whatever is in neither list began after that, and has a number above all others. The
next round goes down to the lowest number that may have been missed so, and no further.

A round is not an operation: it writes nothing outside, and a row for each would bury the jobs of people and flood the
trail. What an operation gives, the feed's row gives as well: one reader at a time (a lease with a rising fence that
every write checks), progress on record with each page, and another worker goes on where one was killed.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from core import clock
from core.errors import OpsError
from core.wording import counted
from tenants.scope import tenant_scope
from workflows.gateway import client_for
from workflows.models import Environment, ExecutionFeed
from workflows.n8n import errors as n8n_errors

from . import feeds, storing, versions
from .errors import OddExecutions
from .feeds import Gap, Overtaken
from .reading import ReportedExecution, Rows, rows_of, run_of
from .statuses import FAILED

if TYPE_CHECKING:
    from workflows.n8n import N8nClient

PAGE_ROWS = 250
PAGES_AT_MOST = 100
PAGES_STORED_AT_ONCE = 4
RUNNING_PAGES = 4
LOOKED_AT_AGAIN = 50
VERSIONS_ASKED = 20
GAPS_AT_MOST = 8
#: A round ends here, wherever it is, and an answer is waited for so long: together less than the lease.
ROUND_SECONDS = 60.0
ANSWER_SECONDS = 20.0
#: A page without data is some 80 KB.
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
LONGEST_PAUSE = timedelta(hours=1)


class RoundOver(Exception):
    """The round has taken as long as it may; the rest waits for the next."""


@dataclass(slots=True)
class Round:
    """The result of one round. ``left`` are the gaps that wait for the next."""

    pages: int = 0
    read: int = 0
    new: int = 0
    changed: int = 0
    forgotten: int = 0
    left: list[Gap] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def add(self, read: int, stored: storing.Stored) -> None:
        self.read += read
        self.new += len(stored.new)
        self.changed += len(stored.changed)

    def say(self, sentence: str) -> None:
        """Keep a sentence about an irregularity, each once, at most ten."""
        if sentence not in self.odd and len(self.odd) < 10:
            self.odd.append(sentence)


def collect(environment: Environment) -> Round | None:
    """Read what is new; None where another worker is reading. Call outside any scope.

    A failure is recorded on the feed, with the time of the next try, before it is raised (an ``OpsError``).
    """
    feed = feeds.claim(environment)
    if feed is None:
        return None
    with contextlib.suppress(Overtaken):
        try:
            with client_for(environment, max_bytes=LARGEST_ANSWER_BYTES, **_PATIENCE) as client:
                return _Reader(environment, feed, client).read()
        except OpsError as error:
            _note_failure(environment, feed, error)
            raise
        except Overtaken:
            raise
        except Exception:
            # An answer that no rule covers: the environment waits longer each time, and the fault is reported.
            _note_failure(environment, feed, OddExecutions())
            raise
    return None


_PATIENCE = {"read": 15.0, "total_time": ANSWER_SECONDS, "attempts": 2}


def _note_failure(environment: Environment, feed: ExecutionFeed, error: OpsError) -> None:
    failures = feed.failures + 1
    pause = timedelta(seconds=max(60, settings.EXECUTIONS_EVERY_SECONDS) * 2 ** min(failures, 6))
    with contextlib.suppress(Overtaken), feeds.held(environment, feed) as save:
        save(
            trouble=error.to_dict(),
            failures=failures,
            next_at=clock.now() + min(pause, LONGEST_PAUSE),
            leased_until=None,
        )


@dataclass(frozen=True, slots=True)
class _Page:
    rows: Rows
    next_cursor: str

    @property
    def lowest(self) -> int | None:
        return self.rows.lowest


class _Reader:
    """One round; lives for one call."""

    def __init__(self, environment: Environment, feed: ExecutionFeed, client: N8nClient) -> None:
        self.environment, self.feed, self.client = environment, feed, client
        self.began = clock.now()
        self.until = time.monotonic() + ROUND_SECONDS
        self.oldest = feeds.oldest_kept(self.began)
        self.round = Round()
        self.gaps = feeds.gaps_of(feed)
        self.open_before: set[int] = set()
        self.failed: list[int] = []

    def read(self) -> Round:
        can_retry = self.client.spec().can("retry_execution")
        slow = False
        with tenant_scope(self.environment.tenant_id):
            self.open_before = storing.open_ones(self.environment.pk)
        try:
            self._read_all()
        except RoundOver:
            slow = True
            self.round.say(f"n8n took more than {ROUND_SECONDS:.0f} seconds; the rest waits for the next reading.")
        return self._finish(can_retry, slow=slow)

    def _read_all(self) -> None:
        running = self._sweep("running")
        self.open_before |= running
        if len(self.open_before) > LOOKED_AT_AGAIN:
            self._sweep("waiting")
        self._read_newest(running)
        self._read_gaps()
        self._look_again()
        self._ask_versions()

    def _in_time(self) -> None:
        if time.monotonic() > self.until:
            raise RoundOver

    # -- pages --------------------------------------------------------------------------------------------------------

    def ask(self, cursor: str, status: str = "") -> _Page:
        self._in_time()
        raw, after = self.client.executions(limit=PAGE_ROWS, cursor=cursor or None, status=status or None)
        rows = rows_of(raw, at_most=PAGE_ROWS, now=clock.now())
        return _Page(rows, after if isinstance(after, str) and len(after) <= 4000 else "")

    def take(self, *pages: _Page, **changes: Any) -> storing.Stored:
        """Store what pages hold, with the feed's row in the same transaction."""
        found = {run.number: run for page in pages for run in page.rows.runs}
        kept = [run for run in found.values() if not self._is_too_old(run)]
        with feeds.held(self.environment, self.feed) as save:
            stored = storing.store(environment=self.environment, runs=kept, now=clock.now())
            save(**changes)
        self._note_failed(kept, stored)
        self.round.add(len(found), stored)
        for sentence in dict.fromkeys(odd for page in pages for odd in page.rows.odd):
            self.round.say(sentence)
        return stored

    def _note_failed(self, runs: list[ReportedExecution], stored: storing.Stored) -> None:
        written = stored.new | stored.changed
        self.failed += [run.number for run in runs if run.status in FAILED and run.number in written]

    def _sweep(self, status: str) -> set[int]:
        """Store all executions of an open status, whatever their number; their numbers."""
        found: set[int] = set()
        cursor = ""
        for _ in range(RUNNING_PAGES):
            try:
                page = self.ask(cursor, status)
            except n8n_errors.Rejected:  # an n8n that has no such filter
                return found
            self.round.pages += 1
            numbers = {run.number for run in page.rows.runs}
            if not numbers - found:
                return found
            self.take(page)
            found |= numbers
            cursor = page.next_cursor
            if not cursor:
                return found
        self.round.say(
            f"More than {counted(len(found), 'execution')} with the status “{status}” at once; only these were read."
        )
        return found

    # -- the newest ---------------------------------------------------------------------------------------------------

    def _read_newest(self, running: set[int]) -> None:
        """The first page; where it does not reach what is known, the rest becomes the first gap."""
        began = time.monotonic()
        page = self.ask("")
        answer_ms = round((time.monotonic() - began) * 1000)
        self.round.pages += 1
        numbers = {run.number for run in page.rows.runs} | running
        before, floor = self.feed.newest, self.feed.settled
        top = max([*numbers, before or 0])
        reached = self.reaches(page, floor)
        gaps = list(self.gaps)
        if not reached and page.next_cursor:
            gaps.insert(0, Gap(page.next_cursor, page.lowest, floor))
        stored = self.take(
            page,
            newest=top or None,
            settled=_settled(numbers, page.lowest, before, top),
            gaps=feeds.gaps_to_json(gaps),
            answer_ms=answer_ms,
        )
        self.gaps = gaps
        if reached and page.next_cursor and self.is_surprised(stored, floor):
            self._begin_anew(page, numbers, floor)

    def _begin_anew(self, page: _Page, numbers: set[int], floor: int | None) -> None:
        """Numbers that should be known are not: n8n has another database, or the key sees more than before."""
        self.round.say(
            "n8n lists older executions that it did not list before, or numbers them anew; they are read again."
        )
        self.gaps.insert(0, Gap(page.next_cursor, page.lowest, floor))
        top = max(numbers)
        with feeds.held(self.environment, self.feed) as save:
            save(newest=top, settled=_settled(numbers, page.lowest, None, top), gaps=feeds.gaps_to_json(self.gaps))

    def reaches(self, page: _Page, floor: int | None) -> bool:
        """Whether nothing below this page is wanted."""
        if not page.next_cursor or page.lowest is None:
            return True
        if floor is not None and page.lowest <= floor:
            return True
        return all(self._is_too_old(run) for run in page.rows.runs)

    def _is_too_old(self, run: ReportedExecution) -> bool:
        return run.started_at is not None and run.started_at < self.oldest

    def is_surprised(self, stored: storing.Stored, floor: int | None) -> bool:
        """Whether an execution at or below ``floor``, where all should be known, was unknown or another one."""
        brought = stored.new | (stored.changed - self.open_before)
        return floor is not None and any(number <= floor for number in brought)

    # -- what was left ------------------------------------------------------------------------------------------------

    def _read_gaps(self) -> None:
        while self.gaps and self.round.pages < PAGES_AT_MOST:
            gap = self.gaps[0]
            try:
                self._read_gap(gap)
            except n8n_errors.Rejected:
                if self.gaps[0].cursor == gap.cursor:
                    self._give_up_cursor(gap)
                    return

    def _read_gap(self, gap: Gap) -> None:
        """Go down through one gap as far as this round may; the next page is on its way while others are stored."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="executions") as pool:
            _GapReading(self, pool, gap, self.gaps[1:]).read()

    def _give_up_cursor(self, gap: Gap) -> None:
        """n8n no longer takes the cursor: everything above the gap's end is read anew by the next round."""
        self.round.say("n8n did not take its own cursor any more; the executions left are looked for from the top.")
        self.gaps = self.gaps[1:]
        with feeds.held(self.environment, self.feed) as save:
            save(settled=gap.down_to, gaps=feeds.gaps_to_json(self.gaps))

    # -- one by one ---------------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Open executions that no list has shown in this round."""
        with tenant_scope(self.environment.tenant_id):
            numbers = storing.longest_unseen(self.environment.pk, before=self.began, at_most=LOOKED_AT_AGAIN)
        for number in numbers:
            try:
                run = self._one(number)
            except n8n_errors.RemoteNotFound:
                with feeds.held(self.environment, self.feed) as save:
                    storing.note_gone(self.environment.pk, number, now=clock.now())
                    save()
                continue
            if run is not None:
                self.take(_Page(Rows([run]), ""))

    def _ask_versions(self) -> None:
        """n8n names the version that ran for single executions, from about 2.40: ask for what failed just now."""
        for number in sorted(self.failed, reverse=True)[:VERSIONS_ASKED]:
            try:
                run = self._one(number)
            except n8n_errors.RemoteNotFound:
                continue
            if run is None or not run.version_id:
                return
            with feeds.held(self.environment, self.feed) as save:
                storing.store(environment=self.environment, runs=[run], now=clock.now())
                save()

    def _one(self, number: int) -> ReportedExecution | None:
        self._in_time()
        run = run_of(self.client.get_execution(number), now=clock.now())
        return run if run is not None and run.number == number else None

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, can_retry: bool, *, slow: bool) -> Round:
        self._merge_gaps()
        now, pause = clock.now(), timedelta(seconds=max(60, settings.EXECUTIONS_EVERY_SECONDS))
        # An instance that stays slow is asked less and less often.
        failures = self.feed.failures + 1 if slow else 0
        with feeds.held(self.environment, self.feed) as save:
            storing.link(self.environment.pk)
            self.round.forgotten = storing.forget(self.environment.pk, older_than=self.oldest)
            over = storing.forget_most(self.environment.pk, keep=settings.EXECUTIONS_KEPT_AT_MOST)
            if over:
                self.round.say(f"More than {settings.EXECUTIONS_KEPT_AT_MOST:,} executions; the oldest are not kept.")
            self.round.forgotten += over
            noted = versions.note(self.environment, noted_at=self.feed.versions_at)
            save(
                gaps=feeds.gaps_to_json(self.gaps),
                can_retry=can_retry,
                trouble={"code": OddExecutions.code, "message": " ".join(self.round.odd)} if self.round.odd else None,
                failures=failures,
                read_at=now,
                versions_at=noted,
                next_at=now + min(pause * 2 ** min(failures, 6), max(pause, LONGEST_PAUSE)),
                leased_until=None,
            )
        self.round.left = list(self.gaps)
        return self.round

    def _merge_gaps(self) -> None:
        """Too many gaps: the two oldest become one, and what lies between is read again."""
        while len(self.gaps) > GAPS_AT_MOST:
            upper, lower = self.gaps[-2:]
            self.gaps[-2:] = [Gap(upper.cursor, upper.below, lower.down_to)]


class _GapReading:
    """Goes down through one gap; ``rest`` are the gaps after it."""

    def __init__(self, reader: _Reader, pool: ThreadPoolExecutor, gap: Gap, rest: list[Gap]) -> None:
        self.reader, self.pool, self.gap, self.rest = reader, pool, gap, rest
        self.cursors: set[str] = set()
        self.waiting: list[_Page] = []
        self.is_stuck = False

    def read(self) -> None:
        coming = self._send(self.gap.cursor)
        while coming is not None:
            is_done = self._take_in(coming.result())
            coming = None if is_done else self._send(self.gap.cursor)
            if coming is None or len(self.waiting) >= PAGES_STORED_AT_ONCE:
                coming = self._store(is_done) or coming

    def _send(self, cursor: str) -> Future[_Page] | None:
        """Ask for the page at a cursor; None once the round has read as many as it may."""
        if self.reader.round.pages >= PAGES_AT_MOST:
            return None
        return self.pool.submit(copy_context().run, self.reader.ask, cursor)

    def _take_in(self, page: _Page) -> bool:
        """Move the gap below a page; whether the gap has been read to its end, or cannot be."""
        self.reader.round.pages += 1
        self.is_stuck = page.next_cursor in self.cursors or not _goes_down(page, self.gap)
        self.cursors.add(page.next_cursor)
        is_done = self.is_stuck or self.reader.reaches(page, self.gap.down_to)
        self.gap = Gap(page.next_cursor, page.lowest, self.gap.down_to)
        self.waiting.append(page)
        return is_done

    def _store(self, is_done: bool) -> Future[_Page] | None:
        """Store the pages that wait. Where they hold unknown executions, the next page below the gap is sent for."""
        reader = self.reader
        reader.gaps = self.rest if is_done else [self.gap, *self.rest]
        stored = reader.take(*self.waiting, gaps=feeds.gaps_to_json(reader.gaps))
        self.waiting.clear()
        if self.is_stuck:
            reader.round.say("n8n's list of executions repeats itself; it was not read to its end.")
        elif is_done and self.gap.cursor and reader.is_surprised(stored, self.gap.down_to):
            reader.gaps = [self.gap, *self.rest]
            return self._send(self.gap.cursor)
        return None


def _settled(numbers: set[int], lowest: int | None, before: int | None, top: int) -> int | None:
    """The highest number below which nothing new can turn up any more."""
    if not top:
        return None
    start = max(before or 0, (lowest or top) - 1)
    missing = next((number for number in range(start + 1, top) if number not in numbers), None)
    return top if missing is None else missing - 1


def _goes_down(page: _Page, gap: Gap) -> bool:
    """Whether the page continues downwards; a list that does not would be read for ever."""
    return page.lowest is None or gap.below is None or page.lowest < gap.below
