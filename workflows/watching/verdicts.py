"""Judges watched starters: by their executions, by what n8n says, and at last by their silence.

Cheap: executions are those that the collector has read already; n8n itself is asked once for each workflow, soon after
the publishing and then ever more seldom. ``active`` and a count of triggers prove nothing (2.41.1 counts a schedule
that never registered, once it has stopped trying), so both only count against a starter.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef, Q

from core import clock
from core.errors import OpsError
from operations.models import OPEN, Operation
from tenants.scope import assert_no_scope, tenant_scope
from workflows.domain_events import publish_not_running
from workflows.executions import selectors as executions
from workflows.executions.statuses import OPEN as NOT_ENDED
from workflows.gateway import client_for
from workflows.models import UNSETTLED, Environment, Execution, StarterKind, StarterWatch, Telling, WatchState
from workflows.n8n.errors import RemoteNotFound, TooLarge

from .noting import TAKES_OVER
from .starters import MODES

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

logger = logging.getLogger(__name__)

LOOKED_AT_ONCE = 50
RUNS_OPENED = 5
PAUSES = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
"""Between looks: the first while it is new."""
SELDOM = timedelta(hours=1)
LOOKED_AT_AFTERWARDS = timedelta(days=7)
REGISTERED_WITHIN = timedelta(minutes=1)
"""How long n8n may count no trigger: it tries several times, for some 20 s (measured on 2.41.1)."""
UNREAD_AT_MOST = timedelta(days=1)
"""How long after its deadline a starter is still watched, because executions could not be read."""
TAKEN_BACK_WITHIN = timedelta(minutes=5)
TAKEN_BACK = "n8n published it and then unpublished it by itself."
#: A run whose answer is larger does not tell which starter it was.
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
_PATIENCE: dict[str, Any] = {"max_bytes": LARGEST_ANSWER_BYTES, "read": 15.0, "total_time": 20.0, "attempts": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one starter. ``tell``: people are notified."""

    state: WatchState
    note: str
    run: Execution | None = None
    tell: bool = False


def settle(environment: Environment) -> int:
    """Judge the starters of an environment that are due; how many were settled. Call outside any scope."""
    assert_no_scope("Judging watched starters")
    now = clock.now()
    watched = _claim(environment, now)
    if not watched:
        return 0
    with tenant_scope(environment.tenant_id):
        runs = {watch.pk: _runs_since(watch) for watch in watched}
    verdicts = _found(watched, lambda watch: _by_rule(watch) or _by_runs(watch, runs[watch.pk]))
    asked = [watch for watch in watched if watch.pk not in verdicts and _is_to_be_asked(watch, now)]
    verdicts |= _by_asking(environment, asked, runs, now)
    with tenant_scope(environment.tenant_id):
        reading = executions.reading(environment.pk)
    open_still = [watch for watch in watched if watch.pk not in verdicts]
    verdicts |= _found(open_still, lambda watch: _by_silence(watch, runs[watch.pk], reading, now))
    return _conclude(environment, watched, verdicts, now)


def _found(
    watched: Sequence[StarterWatch], judge: Callable[[StarterWatch], Verdict | None]
) -> dict[uuid.UUID, Verdict]:
    """The verdicts of one judge, for those that it can judge."""
    judged = {watch.pk: judge(watch) for watch in watched}
    return {pk: verdict for pk, verdict in judged.items() if verdict is not None}


def due(now: datetime) -> Q:
    """What is to be checked now. What was found bad is checked for a week more: it may run late or be repaired."""
    lately = Q(state=WatchState.WATCHED) | Q(state__in=UNSETTLED, settled_at__gt=now - LOOKED_AT_AFTERWARDS)
    return lately & Q(next_look_at__lte=now)


def _claim(environment: Environment, now: datetime) -> list[StarterWatch]:
    """Those whose time has come, the next look put off: another worker that comes now takes others."""
    working = Operation.objects.filter(pk=OuterRef("operation_id"), status__in=OPEN)
    with tenant_scope(environment.tenant_id):
        waiting = StarterWatch.objects.filter(due(now), ~Exists(working), environment_id=environment.pk)
        found = list(waiting.order_by("next_look_at").select_for_update(skip_locked=True)[:LOOKED_AT_ONCE])
        for watch in found:
            is_open = watch.state == WatchState.WATCHED
            watch.next_look_at = now + (_pause(now - watch.since) if is_open else SELDOM)
        StarterWatch.objects.bulk_update(found, ["next_look_at"])
        return found


def _pause(age: timedelta) -> timedelta:
    return next((pause for pause in PAUSES if age < pause * 4), PAUSES[-1])


# -- what is known already --------------------------------------------------------------------------------------------


def _by_rule(watch: StarterWatch) -> Verdict | None:
    if not watch.fault or watch.state != WatchState.WATCHED:
        return None
    return Verdict(WatchState.BAD, f"n8n says that it is published, but never starts it: {watch.fault}.", tell=True)


def _runs_since(watch: StarterWatch) -> list[Execution]:
    """Executions that it may have begun: the first, and where another may have been it, the newest few."""
    rows = Execution.objects.filter(
        environment_id=watch.environment_id,
        env_workflow_id=watch.env_workflow_id,
        mode__in=MODES[watch.kind],
        sorted_at__gt=watch.since + TAKES_OVER,
    )
    return list(rows.order_by("sorted_at")[:1] if watch.is_alone else rows.order_by("-sorted_at")[:RUNS_OPENED])


def _by_runs(watch: StarterWatch, runs: Sequence[Execution]) -> Verdict | None:
    return _proven_by(runs[0]) if watch.is_alone and runs else None


def _proven_by(run: Execution) -> Verdict:
    if run.status in NOT_ENDED or run.status == "success":
        return Verdict(WatchState.PROVEN, "It has run since.", run)
    return Verdict(WatchState.PROVEN, "It starts, but its run did not succeed.", run)


# -- what n8n says ----------------------------------------------------------------------------------------------------


def _is_to_be_asked(watch: StarterWatch, now: datetime) -> bool:
    """Soon after the publishing often, then ever more seldom, and once more at the end."""
    if watch.asked_at is None or now >= watch.deadline:
        return True
    return now - watch.asked_at >= min(SELDOM, (now - watch.since) / 4)


def _by_asking(
    environment: Environment, watched: Sequence[StarterWatch], runs: dict[uuid.UUID, list[Execution]], now: datetime
) -> dict[uuid.UUID, Verdict]:
    """What n8n says of them, each workflow asked about once. An n8n that cannot be reached says nothing."""
    found: dict[uuid.UUID, Verdict] = {}
    by_workflow: dict[str, list[StarterWatch]] = defaultdict(list)
    for watch in watched:
        by_workflow[watch.env_workflow_id].append(watch)
    if not by_workflow:
        return found
    try:
        with client_for(environment, **_PATIENCE) as client:
            asking = _Asking(client, now)
            for workflow_id, of_one in by_workflow.items():
                found |= asking.about(workflow_id, [(watch, runs[watch.pk]) for watch in of_one])
    except OpsError as error:  # the environment's own page says what is wrong; the next look asks again
        logger.info("n8n could not be asked about what is watched", extra={"code": error.code})
    return found


class _Asking:
    """One round of questions to one n8n."""

    def __init__(self, client: N8nClient, now: datetime) -> None:
        self.client, self.now = client, now
        self.opened: dict[int, str] = {}

    def about(
        self, workflow_id: str, of_one: Sequence[tuple[StarterWatch, Sequence[Execution]]]
    ) -> dict[uuid.UUID, Verdict]:
        """What n8n says of the starters of one workflow. Raises ``N8nError`` where it says nothing."""
        raw: dict[str, Any] | None = None
        try:
            raw = self.client.get_workflow(workflow_id)
        except TooLarge:
            return {}
        except RemoteNotFound:
            pass
        found = {}
        for watch, runs in of_one:
            verdict = _by_state(watch, raw, self.now) or self._by_address(watch) or self._by_its_runs(watch, runs)
            watch.asked_at = self.now
            if verdict is not None:
                found[watch.pk] = verdict
        return found

    def _by_address(self, watch: StarterWatch) -> Verdict | None:
        answer = self.client.listening(watch.address) if watch.address else "unknown"
        if answer == "listening":
            return Verdict(WatchState.PROVEN, f"n8n answers at {watch.address}.")
        if answer == "absent":
            return Verdict(WatchState.BAD, f"n8n does not answer at {watch.address}.", tell=True)
        return None

    def _by_its_runs(self, watch: StarterWatch, runs: Sequence[Execution]) -> Verdict | None:
        """Where several starters begin executions of one mode, n8n is asked which of them it was."""
        if watch.is_alone:
            return None
        run = next((run for run in runs if self._starter_of(run.number) == watch.node), None)
        return _proven_by(run) if run is not None else None

    def _starter_of(self, number: int) -> str:
        if number not in self.opened:
            try:
                self.opened[number] = self.client.started_by(number)
            except (RemoteNotFound, TooLarge):
                self.opened[number] = ""
        return self.opened[number]


def _by_state(watch: StarterWatch, raw: dict[str, Any] | None, now: datetime) -> Verdict | None:
    if raw is None:
        return Verdict(WatchState.SUPERSEDED, "The workflow was deleted in n8n since.")
    if not raw.get("active"):
        return _by_not_being_published(watch, raw, now)
    running = str(raw.get("activeVersionId") or raw.get("versionId") or "")
    if watch.version_id and running and running != watch.version_id:
        return Verdict(WatchState.SUPERSEDED, "Another version was published in n8n since.")
    if raw.get("triggerCount") == 0 and now - watch.since > REGISTERED_WITHIN:
        return Verdict(WatchState.BAD, "n8n says that it is published, and counts no trigger in it.", tell=True)
    return None


def _by_not_being_published(watch: StarterWatch, raw: dict[str, Any], now: datetime) -> Verdict | None:
    """n8n said that it was published: right afterwards only n8n itself unpublishes it, later a person."""
    if watch.note == TAKEN_BACK:
        return None
    at_once = watch.asked_at is None and now - watch.since < TAKEN_BACK_WITHIN
    if at_once and not raw.get("isArchived"):
        return Verdict(WatchState.BAD, TAKEN_BACK, tell=True)
    return Verdict(WatchState.SUPERSEDED, "The workflow was unpublished in n8n since.")


# -- silence ----------------------------------------------------------------------------------------------------------

_NO_MATTER = {
    StarterKind.SCHEDULE: "Whether it should have run by now cannot be told from its rule and settings.",
    StarterKind.POLLER: "It runs only when it finds something new, so that may be as it should.",
    StarterKind.ADDRESS: "It runs only when it is called, so that may be as it should.",
    StarterKind.EVENT: "It runs only when something happens outside, so that may be as it should.",
}


def _by_silence(
    watch: StarterWatch, runs: Sequence[Execution], reading: executions.Reading, now: datetime
) -> Verdict | None:
    if now < watch.deadline or watch.state != WatchState.WATCHED:
        return None
    if runs:  # of others, or of this one
        note = "Its workflow has run since, but n8n does not tell whether this started it."
        return Verdict(WatchState.GIVEN_UP, note)
    is_read = reading.read_at is not None and reading.read_at >= watch.deadline
    if not is_read or reading.gaps or reading.failing:
        if now < watch.deadline + UNREAD_AT_MOST:
            return None
        note = "Nobody knows whether it has run: n8n's executions could not be read to their end."
        return Verdict(WatchState.GIVEN_UP, note)
    if watch.due_at is None:
        return Verdict(WatchState.GIVEN_UP, f"Never seen to run since. {_NO_MATTER[StarterKind(watch.kind)]}")
    note = f"Never seen to run since. By its rule it should have, by {moment(watch.due_at)} at the latest."
    return Verdict(WatchState.GIVEN_UP, note, tell=True)


def moment(at: datetime) -> str:
    """A moment as mail and notes write it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# -- the end ----------------------------------------------------------------------------------------------------------


def _conclude(
    environment: Environment, watched: Sequence[StarterWatch], verdicts: dict[uuid.UUID, Verdict], now: datetime
) -> int:
    settled = 0
    with tenant_scope(environment.tenant_id):
        for watch in watched:
            standing = StarterWatch.objects.filter(pk=watch.pk, state=watch.state)
            found = verdicts.get(watch.pk)
            if found is None or (found.state in UNSETTLED and watch.state != WatchState.WATCHED):
                standing.update(asked_at=watch.asked_at)
                continue
            telling = {"telling": Telling.WAITING, "tell_at": now} if found.tell else {}
            if watch.telling == Telling.WAITING:  # repaired before anybody was told
                telling = {"telling": Telling.NOBODY}
            changed = standing.update(
                state=found.state,
                note=found.note[:500],
                run_number=found.run.number if found.run else None,
                run_status=found.run.status if found.run else "",
                settled_at=now,
                asked_at=watch.asked_at,
                **telling,
            )
            if changed and found.tell:
                publish_not_running(watch, found.note)
            settled += changed
    return settled
