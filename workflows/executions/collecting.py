"""Reading an environment's executions, a bounded round at a time; what is not read yet is on record as a gap.

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
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import F, Q

from core import clock
from core.errors import OpsError
from tenants.scope import platform_scope, tenant_scope
from workflows.gateway import client_for
from workflows.models import Environment, ExecutionFeed
from workflows.n8n import errors as n8n_errors

from . import storing, versions
from .errors import OddExecutions
from .reading import Rows, Run, rows_of, run_of
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
LEASE_SECONDS = 120
#: A page without data is some 80 KB.
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
LONGEST_PAUSE = timedelta(hours=1)


class RoundOver(Exception):
    """The round has taken as long as it may; what is left waits for the next."""


class Overtaken(Exception):
    """Somebody else reads these executions now; this round must write nothing more."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Executions not read yet: below ``below`` and above ``down_to`` (None: as far as they are kept).

    ``cursor`` is n8n's own, of the page with which reading goes on.
    """

    cursor: str
    below: int | None = None
    down_to: int | None = None


@dataclass(slots=True)
class Round:
    """What one round brought. ``left`` are the gaps that wait for the next."""

    pages: int = 0
    read: int = 0
    new: int = 0
    changed: int = 0
    forgotten: int = 0
    left: list[Gap] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        if sentence not in self.odd and len(self.odd) < 10:
            self.odd.append(sentence)


def oldest_kept(now: datetime) -> datetime:
    """Executions that began before this moment are not kept."""
    return now - timedelta(days=settings.EXECUTION_DAYS)


def ensure_feed(environment: Environment) -> ExecutionFeed:
    """The environment's feed, made due at once where there is none."""
    with tenant_scope(environment.tenant_id):
        return ExecutionFeed.objects.get_or_create(
            environment=environment, defaults={"tenant_id": environment.tenant_id, "next_at": clock.now()}
        )[0]


def collect(environment: Environment) -> Round | None:
    """Read what is new; call outside any scope. None where somebody else is reading.

    What goes wrong is on the feed's row, with when it is tried again, before it is raised (an ``OpsError``).
    """
    feed = _claim(environment)
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
            # An answer that nobody thought of: the environment waits longer each time, and the fault is reported.
            _note_failure(environment, feed, OddExecutions())
            raise
    return None


_PATIENCE = {"read": 15.0, "total_time": ANSWER_SECONDS, "attempts": 2}


def _claim(environment: Environment) -> ExecutionFeed | None:
    feed, now = ensure_feed(environment), clock.now()
    if _readers(now) >= settings.EXECUTION_READERS:
        return None
    with tenant_scope(environment.tenant_id):
        free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
        claimed = ExecutionFeed.objects.filter(free, pk=feed.pk).update(
            fence=F("fence") + 1, leased_until=now + timedelta(seconds=LEASE_SECONDS)
        )
        if claimed != 1:
            return None
        feed.refresh_from_db()
        return feed


def _readers(now: datetime) -> int:
    """How many environments are being read: a slow n8n must leave workers to what people wait for."""
    with platform_scope():
        return ExecutionFeed.objects.filter(leased_until__gte=now).count()


def _note_failure(environment: Environment, feed: ExecutionFeed, error: OpsError) -> None:
    failures = feed.failures + 1
    pause = timedelta(seconds=max(60, settings.EXECUTIONS_EVERY_SECONDS) * 2 ** min(failures, 6))
    with contextlib.suppress(Overtaken), _held(environment, feed) as save:
        save(
            trouble=error.to_dict(),
            failures=failures,
            next_at=clock.now() + min(pause, LONGEST_PAUSE),
            leased_until=None,
        )


@contextlib.contextmanager
def _held(environment: Environment, feed: ExecutionFeed) -> Iterator[Callable[..., None]]:
    """A transaction that commits only while this round still holds the feed; what it yields writes the feed's row."""

    def save(**changes: Any) -> None:
        lease = {"leased_until": clock.now() + timedelta(seconds=LEASE_SECONDS), **changes}
        if ExecutionFeed.objects.filter(pk=feed.pk, fence=feed.fence).update(**lease) != 1:
            raise Overtaken
        for name, value in changes.items():
            setattr(feed, name, value)

    with tenant_scope(environment.tenant_id):
        yield save


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
        self.oldest = oldest_kept(self.began)
        self.round = Round()
        self.gaps = [Gap(**gap) for gap in feed.gaps]
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

    def _ask(self, cursor: str, status: str = "") -> _Page:
        self._in_time()
        raw, after = self.client.executions(limit=PAGE_ROWS, cursor=cursor or None, status=status or None)
        rows = rows_of(raw, at_most=PAGE_ROWS, now=clock.now())
        return _Page(rows, after if isinstance(after, str) and len(after) <= 4000 else "")

    def _take(self, *pages: _Page, **changes: Any) -> storing.Stored:
        """Store what pages hold, with the feed's row in the same transaction."""
        found = {run.number: run for page in pages for run in page.rows.runs}
        kept = [run for run in found.values() if run.started_at is None or run.started_at >= self.oldest]
        with _held(self.environment, self.feed) as save:
            stored = storing.store(environment=self.environment, runs=kept, now=clock.now())
            save(**changes)
        written = stored.new | stored.changed
        self.failed += [run.number for run in kept if run.status in FAILED and run.number in written]
        self.round.read += len(found)
        self.round.new += len(stored.new)
        self.round.changed += len(stored.changed)
        for sentence in dict.fromkeys(odd for page in pages for odd in page.rows.odd):
            self.round.say(sentence)
        return stored

    def _sweep(self, status: str) -> set[int]:
        """Take down all executions of an open status, whatever their number; the numbers."""
        found: set[int] = set()
        cursor = ""
        for _ in range(RUNNING_PAGES):
            try:
                page = self._ask(cursor, status)
            except n8n_errors.Rejected:  # an n8n that has no such filter
                return found
            self.round.pages += 1
            numbers = {run.number for run in page.rows.runs}
            if not numbers - found:
                return found
            self._take(page)
            found |= numbers
            cursor = page.next_cursor
            if not cursor:
                return found
        self.round.say(f"More than {len(found)} executions are {status} at once; only these were looked at.")
        return found

    # -- the newest ---------------------------------------------------------------------------------------------------

    def _read_newest(self, running: set[int]) -> None:
        """The first page; where it does not reach what is known, the rest becomes the first gap."""
        page = self._ask("")
        self.round.pages += 1
        numbers = {run.number for run in page.rows.runs} | running
        before, floor = self.feed.newest, self.feed.settled
        top = max([*numbers, before or 0])
        reached = self._reaches(page, floor)
        gaps = list(self.gaps)
        if not reached and page.next_cursor:
            gaps.insert(0, Gap(page.next_cursor, page.lowest, floor))
        stored = self._take(
            page,
            newest=top or None,
            settled=_settled(numbers, page.lowest, before, top),
            gaps=[asdict(gap) for gap in gaps],
        )
        self.gaps = gaps
        if reached and page.next_cursor and self._surprised(stored, floor):
            self._begin_anew(page, numbers, floor)

    def _begin_anew(self, page: _Page, numbers: set[int], floor: int | None) -> None:
        """Numbers that should be known are not: n8n's database is another, or its key sees more than before."""
        self.round.say(
            "n8n lists older executions that it did not list before, or numbers them anew; they are read again."
        )
        self.gaps.insert(0, Gap(page.next_cursor, page.lowest, floor))
        top = max(numbers)
        with _held(self.environment, self.feed) as save:
            save(newest=top, settled=_settled(numbers, page.lowest, None, top), gaps=[asdict(g) for g in self.gaps])

    def _reaches(self, page: _Page, floor: int | None) -> bool:
        """Whether nothing is wanted that lies below this page."""
        if not page.next_cursor or page.lowest is None:
            return True
        if floor is not None and page.lowest <= floor:
            return True
        return all(run.started_at is not None and run.started_at < self.oldest for run in page.rows.runs)

    def _surprised(self, stored: storing.Stored, floor: int | None) -> bool:
        """Whether something at or below what was settled was unknown, or is another execution than it was."""
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
        cursors, held, rest = set[str](), list[_Page](), self.gaps[1:]
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="executions") as pool:

            def send(cursor: str) -> Future[_Page] | None:
                within = self.round.pages < PAGES_AT_MOST
                return pool.submit(copy_context().run, self._ask, cursor) if within else None

            coming = send(gap.cursor)
            while coming is not None:
                page, coming = coming.result(), None
                self.round.pages += 1
                stuck = page.next_cursor in cursors or not _goes_down(page, gap)
                cursors.add(page.next_cursor)
                done = stuck or self._reaches(page, gap.down_to)
                gap = Gap(page.next_cursor, page.lowest, gap.down_to)
                held.append(page)
                if not done:
                    coming = send(page.next_cursor)
                    if coming is not None and len(held) < PAGES_STORED_AT_ONCE:
                        continue
                self.gaps = rest if done else [gap, *rest]
                stored = self._take(*held, gaps=[asdict(left) for left in self.gaps])
                held.clear()
                if stuck:
                    self.round.say("n8n's list of executions repeats itself; it was not read to its end.")
                elif done and page.next_cursor and self._surprised(stored, gap.down_to):
                    self.gaps = [gap, *rest]
                    coming = send(page.next_cursor)

    def _give_up_cursor(self, gap: Gap) -> None:
        """n8n no longer takes the cursor: everything above the gap's end is read anew by the next round."""
        self.round.say("n8n did not take its own cursor any more; the executions left are looked for from the top.")
        self.gaps = self.gaps[1:]
        with _held(self.environment, self.feed) as save:
            save(settled=gap.down_to, gaps=[asdict(left) for left in self.gaps])

    # -- one by one ---------------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Open executions that no list has shown in this round."""
        with tenant_scope(self.environment.tenant_id):
            numbers = storing.longest_unseen(self.environment.pk, before=self.began, at_most=LOOKED_AT_AGAIN)
        for number in numbers:
            try:
                run = self._one(number)
            except n8n_errors.RemoteNotFound:
                with _held(self.environment, self.feed) as save:
                    storing.note_gone(self.environment.pk, number, now=clock.now())
                    save()
                continue
            if run is not None:
                self._take(_Page(Rows([run]), ""))

    def _ask_versions(self) -> None:
        """n8n names the version that ran for single executions, from about 2.40: ask for what failed just now."""
        for number in sorted(self.failed, reverse=True)[:VERSIONS_ASKED]:
            try:
                run = self._one(number)
            except n8n_errors.RemoteNotFound:
                continue
            if run is None or not run.version_id:
                return
            with _held(self.environment, self.feed) as save:
                storing.store(environment=self.environment, runs=[run], now=clock.now())
                save()

    def _one(self, number: int) -> Run | None:
        self._in_time()
        run = run_of(self.client.get_execution(number), now=clock.now())
        return run if run is not None and run.number == number else None

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, can_retry: bool, *, slow: bool) -> Round:
        self._merge_gaps()
        now, pause = clock.now(), timedelta(seconds=max(60, settings.EXECUTIONS_EVERY_SECONDS))
        # One that is slow again and again is asked less and less often.
        failures = self.feed.failures + 1 if slow else 0
        with _held(self.environment, self.feed) as save:
            storing.link(self.environment.pk)
            self.round.forgotten = storing.forget(self.environment.pk, older_than=self.oldest)
            over = storing.forget_most(self.environment.pk, keep=settings.EXECUTIONS_KEPT_AT_MOST)
            if over:
                self.round.say(f"More than {settings.EXECUTIONS_KEPT_AT_MOST:,} executions; the oldest are not kept.")
            self.round.forgotten += over
            noted = versions.note(self.environment, noted_at=self.feed.versions_at)
            save(
                gaps=[asdict(gap) for gap in self.gaps],
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


def _settled(numbers: set[int], lowest: int | None, before: int | None, top: int) -> int | None:
    """The highest number below which nothing new can turn up any more."""
    if not top:
        return None
    start = max(before or 0, (lowest or top) - 1)
    missing = next((number for number in range(start + 1, top) if number not in numbers), None)
    return top if missing is None else missing - 1


def _goes_down(page: _Page, gap: Gap) -> bool:
    """A list that does not fall would be read for ever."""
    return page.lowest is None or gap.below is None or page.lowest < gap.below


def environment_ids_due(now: datetime, *, at_most: int) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(tenant, environment) of feeds whose time has come and that nobody reads. Needs the platform's scope."""
    free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    due = ExecutionFeed.objects.filter(free, next_at__lte=now, environment__is_archived=False)
    return list(due.order_by("next_at").values_list("tenant_id", "environment_id")[:at_most])
