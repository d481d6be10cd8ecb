"""The nodes that start a workflow by themselves, and when each is due next. Pure: from the content alone."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from workflows.models import StarterKind
from workflows.references import address_by_place, webhook_address

from .crons import fields_of, latest_next

_SCHEDULES = frozenset({"scheduleTrigger", "cron", "interval"})
#: Read off n8n's own descriptions (``polling``), 1.123.0 and 2.41.1; any node with ``pollTimes`` is one as well.
_POLLERS = frozenset(
    {
        "airtableTrigger", "clockifyTrigger", "databricksTrigger", "gmailTrigger", "googleBusinessProfileTrigger",
        "googleCalendarTrigger", "googleDriveTrigger", "googleSheetsTrigger", "microsoftOneDriveTrigger",
        "microsoftOutlookTrigger", "notionTrigger", "rssFeedReadTrigger", "salesforceTrigger", "seaTableTrigger",
        "togglTrigger",
    }
)  # fmt: skip
_ADDRESSES = frozenset({"webhook", "formTrigger", "chatTrigger", "mcpTrigger"})
#: Started by a person, another workflow or a failure: nothing could fail to register.
_STARTED_BY_OTHERS = frozenset(
    {"manualTrigger", "manualChatTrigger", "evaluationTrigger", "executeWorkflowTrigger", "errorTrigger"}
)
_EVENTS_WITHOUT_THE_WORD = frozenset({"emailReadImap"})
#: What n8n calls the executions that each kind begins.
MODES: Mapping[str, frozenset[str]] = {
    StarterKind.SCHEDULE: frozenset({"trigger"}),
    StarterKind.POLLER: frozenset({"trigger"}),
    StarterKind.ADDRESS: frozenset({"webhook", "chat"}),
    StarterKind.EVENT: frozenset({"trigger", "webhook"}),
}
#: Seconds that a unit of a rule lasts at most.
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 7 * 86400, "months": 31 * 86400}
_USUAL = {"seconds": 30, "minutes": 5, "hours": 1, "days": 1, "weeks": 1, "months": 1}


@dataclass(frozen=True, slots=True)
class Starter:
    """A node that starts its workflow by itself.

    ``address`` is what n8n can be asked about (``POST orders/new``), '' where there is none. ``fault`` says why it can
    never fire, where that is certain. ``due_at`` is by when it fires at the latest if all is well; None where that
    cannot be computed, or where its silence says nothing.
    """

    node: str
    kind: StarterKind
    address: str = ""
    fault: str = ""
    due_at: datetime | None = None

    def is_alone(self, among: Sequence[Starter]) -> bool:
        """Whether no other starter of the workflow begins executions of the same mode."""
        return not any(MODES[self.kind] & MODES[other.kind] for other in among if other is not self)


def starters_of(
    content: Mapping[str, Any], *, after: datetime, workflow_id: str = "", asked: Container[str] = ()
) -> list[Starter]:
    """Every node of a workflow that starts it by itself; what is switched off and what others start is left out.

    An address in ``asked`` (those that n8n was asked about) that contains ``workflow_id`` is that of its node.
    """
    settings = content.get("settings") or {}
    zone = str(settings.get("timezone") or "")
    # With this setting n8n deletes successful runs as they end, so that they cannot be seen.
    leaves_traces = settings.get("saveDataSuccessExecution") != "none"
    found = []
    for node in _starting(content):
        starter = _starter(node, after, "" if zone == "DEFAULT" else zone, leaves_traces)
        by_place = address_by_place(node, workflow_id)
        found.append(replace(starter, address=by_place) if by_place and by_place in asked else starter)
    return found


def _starting(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for node in content.get("nodes") or ():
        word = _word(node)
        if node.get("disabled") or word in _STARTED_BY_OTHERS:
            continue
        known = word in _SCHEDULES | _ADDRESSES | _EVENTS_WITHOUT_THE_WORD
        if known or word.endswith("Trigger"):
            yield node


def _word(node: Mapping[str, Any]) -> str:
    return str(node.get("type") or "").rpartition(".")[2]


def _starter(node: Mapping[str, Any], after: datetime, zone: str, leaves_traces: bool) -> Starter:
    name, word, parameters = str(node.get("name") or ""), _word(node), node.get("parameters") or {}
    if word in _ADDRESSES:
        address = webhook_address(node) or ""
        return Starter(name, StarterKind.ADDRESS, "" if ":" in address else address)
    if word in _SCHEDULES:
        return _schedule(name, list(_rules(word, parameters)), after, zone, leaves_traces)
    # A poller runs only when it finds something: its silence says nothing.
    polls = word in _POLLERS or "pollTimes" in parameters
    return Starter(name, StarterKind.POLLER if polls else StarterKind.EVENT)


def _schedule(name: str, rules: list[_Rule], after: datetime, zone: str, leaves_traces: bool) -> Starter:
    fault = next(filter(None, map(_fault, rules)), "")
    due_at = _due(rules, after, zone) if leaves_traces and not fault else None
    return Starter(name, StarterKind.SCHEDULE, fault=fault, due_at=due_at)


# -- rules of schedules -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule of a schedule: every so many seconds, or a cron expression; neither where it is not known."""

    every_seconds: int | None = None
    cron: str = ""
    unit: str = ""
    count: int = 1


def _rules(word: str, parameters: Mapping[str, Any]) -> Iterator[_Rule]:
    if word == "interval":
        yield _every(str(parameters.get("unit") or "seconds"), parameters.get("interval", 1))
    elif word == "cron":
        for item in _listed(parameters.get("triggerTimes"), "item"):
            yield _old_rule(item)
    else:
        for item in _listed(parameters.get("rule"), "interval") or [{}]:
            field = str(item.get("field") or "days")
            if field == "cronExpression":
                yield _Rule(cron=str(item.get("expression") or ""))
            else:
                yield _every(field, item.get(f"{field}Interval", _USUAL.get(field, 1)))


def _listed(held: Any, name: str) -> list[Mapping[str, Any]]:
    found = held.get(name) if isinstance(held, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _every(unit: str, count: Any) -> _Rule:
    whole = isinstance(count, int | float) and not isinstance(count, bool) and math.isfinite(count)
    if unit not in _SECONDS or not whole:
        return _Rule()
    return _Rule(every_seconds=int(count * _SECONDS[unit]), unit=unit, count=int(count))


def _old_rule(item: Mapping[str, Any]) -> _Rule:
    """A rule of the node Cron, which newer n8n still runs."""
    units = {"everyMinute": "minutes", "everyHour": "hours", "everyDay": "days", "everyWeek": "weeks"}
    mode = item.get("mode")
    if mode == "custom":
        return _Rule(cron=str(item.get("cronExpression") or ""))
    if mode == "everyX":
        return _every(str(item.get("unit") or "hours"), item.get("value", 2))
    return _every("months" if mode == "everyMonth" else units.get(str(mode or "everyDay"), ""), 1)


def _fault(rule: _Rule) -> str:
    """Why n8n cannot register the rule; then it registers none of the node's rules."""
    if rule.cron.strip() and not rule.cron.startswith("=") and fields_of(rule.cron) is None:
        return f"“{rule.cron[:80]}” is no cron expression"
    if rule.every_seconds is not None and rule.every_seconds < 1:
        return f"its rule is every {rule.count} {rule.unit}"
    return ""


def _due(rules: list[_Rule], after: datetime, zone: str) -> datetime | None:
    """The earliest of what the rules promise at the latest."""
    found = [after + timedelta(seconds=rule.every_seconds) for rule in rules if rule.every_seconds is not None]
    by_cron = latest_next((rule.cron for rule in rules if rule.cron), after, zone)
    return min([*found, *([by_cron] if by_cron is not None else [])], default=None)
