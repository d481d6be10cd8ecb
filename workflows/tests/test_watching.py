"""What starts a workflow, when it should, and what an expression means to n8n."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workflows.models import StarterKind
from workflows.watching.crons import fields_of, latest_next
from workflows.watching.starters import Starter, starters_of

NOW = datetime(2026, 11, 28, 23, 50, tzinfo=UTC)  # a Saturday


def node(kind: str, name: str = "", **parameters: Any) -> dict[str, Any]:
    return {"name": name or kind, "type": f"n8n-nodes-base.{kind}", "parameters": parameters}


def schedule(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**node("scheduleTrigger", "Every", rule={"interval": list(rules)}), **more}


def cron(expression: str) -> dict[str, Any]:
    return {"field": "cronExpression", "expression": expression}


def only(*nodes: dict[str, Any], **settings: Any) -> Starter:
    (found,) = starters_of({"nodes": list(nodes), "settings": settings}, after=NOW)
    return found


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 * * * * *",
        "0 9 * * mon-fri",
        "5/10 * * * *",
        "@daily",
        "0 9 31 2 *",
        "0 0 1,15 JAN *",
        "0 9 * * 7",
    ],
)
def test_what_n8n_takes_for_a_cron_expression(expression: str) -> None:
    """Each was asked of the package `cron` 4.4.0, which n8n 2.41.1 has."""
    assert fields_of(expression) is not None


@pytest.mark.parametrize(
    "expression",
    [
        "not a cron",
        "",
        "61 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "0 9 L * *",
        "0 12 * * MON#1",
        "0 9 * * 1-5x",
        "1 2 3 4 5 6 7",
    ],
)
def test_what_n8n_refuses_as_a_cron_expression(expression: str) -> None:
    assert fields_of(expression) is None


def test_without_a_time_zone_the_latest_of_all_counts() -> None:
    berlin = latest_next(["0 9 * * *"], NOW, "Europe/Berlin")
    assert berlin == datetime(2026, 11, 29, 8, tzinfo=UTC)
    anywhere = latest_next(["0 9 * * *"], NOW)
    assert anywhere is not None and berlin < anywhere <= NOW + timedelta(hours=24)
    hourly = latest_next(["0 * * * *"], NOW)
    assert hourly == datetime(2026, 11, 29, 0, 30, tzinfo=UTC), "there are zones at the half hour"
    assert latest_next(["0 9 31 2 *"], NOW) is None, "it never fires"
    for unknown in ("Mars/Base", "../etc/passwd", "a" * 300):
        assert latest_next(["0 9 * * *"], NOW, unknown) == anywhere, "n8n knows a zone that this machine does not"


@pytest.mark.parametrize(
    ("rule", "span"),
    [
        ({"field": "seconds", "secondsInterval": 1}, timedelta(seconds=1)),
        ({"field": "minutes", "minutesInterval": 10}, timedelta(minutes=10)),
        ({"field": "hours", "hoursInterval": 18, "triggerAtMinute": 5}, timedelta(hours=18)),
        ({}, timedelta(days=1)),
        ({"field": "weeks", "weeksInterval": 2, "triggerAtDay": [1]}, timedelta(days=14)),
        ({"field": "months"}, timedelta(days=31)),
    ],
)
def test_an_interval_is_due_within_its_length(rule: dict[str, Any], span: timedelta) -> None:
    assert only(schedule(rule)).due_at == NOW + span


def test_of_several_rules_the_first_to_fire_counts() -> None:
    found = only(schedule({"field": "months"}, cron("*/5 * * * *")))
    assert found.due_at == datetime(2026, 11, 28, 23, 55, tzinfo=UTC)


def test_one_bad_rule_keeps_the_whole_node_from_starting() -> None:
    found = only(schedule({"field": "minutes", "minutesInterval": 1}, cron("not a cron")))
    assert (found.due_at, found.fault) == (None, "“not a cron” is no cron expression")
    assert only(schedule({"field": "minutes", "minutesInterval": 0})).fault


def test_what_cannot_be_told_is_not_guessed() -> None:
    expression = only(schedule(cron("={{ $vars.when }}")))
    assert (expression.due_at, expression.fault) == (None, "")
    assert only(schedule({"field": "minutes", "minutesInterval": "={{ 5 }}"})).due_at is None
    silent = only(schedule({"field": "minutes"}), saveDataSuccessExecution="none")
    assert silent.due_at is None, "n8n keeps no trace of its runs"


def test_each_node_that_starts_a_workflow_is_named_with_its_kind() -> None:
    content = {
        "nodes": [
            node("webhook", "Hook", path="orders", httpMethod="POST"),
            node("webhook", "Varies", path="orders/:id", httpMethod="POST"),
            node("rssFeedReadTrigger", "Feed"),
            node("someTrigger", "Custom", pollTimes={"item": [{"mode": "everyMinute"}]}),
            node("telegramTrigger", "Chat"),
            node("cron", "Old", triggerTimes={"item": [{"mode": "everyX", "unit": "hours", "value": 3}]}),
            node("executeWorkflowTrigger", "Called"),
            node("errorTrigger", "Trouble"),
            node("manualTrigger", "By hand"),
            node("set", "Set"),
            {**node("scheduleTrigger", "Off"), "disabled": True},
        ]
    }
    found = {starter.node: starter for starter in starters_of(content, after=NOW)}
    assert {name: starter.kind for name, starter in found.items()} == {
        "Hook": StarterKind.ADDRESS,
        "Varies": StarterKind.ADDRESS,
        "Feed": StarterKind.POLLER,
        "Custom": StarterKind.POLLER,
        "Chat": StarterKind.EVENT,
        "Old": StarterKind.SCHEDULE,
    }
    assert (found["Hook"].address, found["Varies"].address) == ("POST orders", "")
    assert found["Old"].due_at == NOW + timedelta(hours=3)


def test_a_run_can_be_of_another_starter_only_where_both_begin_runs_of_one_mode() -> None:
    hook, every, other = (
        Starter("a", StarterKind.ADDRESS),
        Starter("b", StarterKind.SCHEDULE),
        Starter("c", StarterKind.EVENT),
    )
    assert every.is_alone([hook, every]) and hook.is_alone([hook, every])
    assert not every.is_alone([every, other]) and not hook.is_alone([hook, other])
