"""The declarations of the apps: collected once, without duplicates, and every page that they name exists."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from audit.checks import every_watched_table_is_a_subject, watched_tables
from core.declarations import EncryptedColumn, HomePart, JobKind
from core.registry import (
    Console,
    Destination,
    EventStream,
    HealthComponent,
    HealthService,
    PeriodicTask,
    Registry,
    Subject,
    TrailAction,
    registry,
)
from core.states import all_looks
from operations import handlers
from opsconsole import checks
from tests.recorded import recorded_actions


def page(**more: Any) -> Destination:
    return Destination(**{"url_name": "jobs", "title": "Jobs", "icon": "queue-list", **more})


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            Console(destinations=(page(),)),
            Console(destinations=(page(),)),
            "The page “jobs” is declared by a and by b.",
        ),
        (
            Console(destinations=(page(shortcut="j"),)),
            Console(destinations=(page(url_name="joys", shortcut="j"),)),
            "The shortcut g “j” is declared by a and by b.",
        ),
        (
            Console(health_components=(HealthComponent(name="x", title="X", position=1, probe=dict),)),
            Console(health_components=(HealthComponent(name="x", title="Y", position=2, probe=dict),)),
            "The health component “x” is declared by a and by b.",
        ),
        (
            Console(subjects=(Subject(table="jars", noun="jar"),)),
            Console(subjects=(Subject(table="jars", noun="pot"),)),
            "The subject “jars” is declared by a and by b.",
        ),
        (
            Console(trail_actions=(TrailAction(code="OPENED", words="Opened"),)),
            Console(trail_actions=(TrailAction(code="OPENED", words="Broken"),)),
            "The action of the trail “OPENED” is declared by a and by b.",
        ),
    ],
)
def test_what_two_apps_declare_is_refused_by_name(first: Console, second: Console, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        Registry(consoles={"a": first, "b": second}).check()


def test_a_registry_is_not_read_before_it_is_whole() -> None:
    with pytest.raises(ImproperlyConfigured, match="before Django is ready"):
        Registry().rail(of_platform=False)


@pytest.mark.parametrize(
    ("check", "console", "sentence"),
    [
        (checks.every_page_exists, Console(destinations=(page(url_name="no"),)), "there is no page “no”."),
        (
            checks.every_page_exists,
            Console(subjects=(Subject(table="jars", noun="jar", url_name="no"),)),
            "there is no page “no” for the subject jars.",
        ),
        (
            checks.every_periodic_task_exists,
            Console(periodic_tasks=(PeriodicTask(name="x", task="x.tasks.no", every_seconds=1.0),)),
            "Celery knows no task x.tasks.no.",
        ),
        (
            checks.every_named_component_exists,
            Console(health_services=(HealthService(name="jars", components=("no",)),)),
            "the health service “jars” names the component “no”, which is not declared.",
        ),
        (
            checks.every_named_component_exists,
            Console(event_streams=(EventStream(name="jars", job_kinds=("no",)),)),
            "the event stream “jars” names the kind of job “no”, which is not declared.",
        ),
        (
            checks.every_template_exists,
            Console(home_parts=(HomePart(name="jars", position=1, template="x/no.html", facts=lambda _: None),)),
            "there is no template x/no.html for the part “jars”.",
        ),
        (
            checks.every_grant_is_known,
            Console(destinations=(page(grant="no"),)),
            "the page “jobs” needs the grant “no”, which nobody has.",
        ),
        (
            checks.every_encrypted_column_exists,
            Console(encrypted_columns=(EncryptedColumn(model="tenants.Tenant", column="no"),)),
            "there is no column tenants.Tenant.no to encrypt anew.",
        ),
    ],
)
def test_what_leads_nowhere_is_told_by_name(
    monkeypatch: pytest.MonkeyPatch, check: Callable[[], list[Any]], console: Console, sentence: str
) -> None:
    assert list(check()) == [], "of what is installed"
    monkeypatch.setitem(registry.consoles, "x", console)
    assert [error.msg for error in check()] == [f"x/console.py: {sentence}"]


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        ("drift.handlers.No", "x/console.py: the kind of job “x.do” has no handler drift.handlers.No"),
        ("drift.handlers.Check", "x/console.py: drift.handlers.Check is not the handler of “x.do”."),
    ],
)
def test_a_kind_of_job_has_its_own_handler(handler: str, sentence: str) -> None:
    found = Registry(consoles={"x": Console(job_kinds=(JobKind(name="x.do", handler=handler),))}, is_frozen=True)
    with pytest.raises(ImproperlyConfigured, match=sentence):
        found.import_handlers()


def test_a_handler_that_nobody_declares_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_product = {kind: handler for kind, handler in handlers._handlers.items() if not kind.startswith("test.")}
    monkeypatch.setattr(handlers, "_handlers", of_the_product)
    assert list(checks.every_kind_of_job_is_declared()) == []
    monkeypatch.setitem(registry.consoles, "reports", Console())
    [error] = checks.every_kind_of_job_is_declared()
    assert error.msg == "No console.py declares the kind of job “reports.make”, which has a handler."


def test_every_declared_page_opens() -> None:
    """Its name is known, and it takes nothing but the tenant."""
    for entry in registry.destinations(of_platform=False):
        assert reverse(entry.url_name, kwargs={"tenant_slug": "acme"}), entry
    for entry in registry.destinations(of_platform=True):
        assert reverse(entry.url_name), entry


def test_every_subject_that_has_a_page_has_one() -> None:
    for subject in registry.subjects().values():
        key = {"pk": uuid.UUID(int=0)} if subject.url_takes_id else {}
        for name in filter(None, (subject.url_name, subject.job_url_name)):
            assert reverse(name, kwargs={"tenant_slug": "acme", **key}), subject


def test_every_table_that_the_trail_watches_has_its_words() -> None:
    assert len(watched_tables()) > 20
    assert watched_tables()["promotions"] == "promotions"
    assert every_watched_table_is_a_subject() == []


def test_a_table_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {table: subject for table, subject in registry.subjects().items() if table != "snapshots"}
    monkeypatch.setattr(registry, "_subjects", known)
    [error] = every_watched_table_is_a_subject()
    assert error.msg == (
        "The trail watches the table snapshots of snapshots, and snapshots/console.py has no Subject for it."
    )


def test_every_action_that_is_recorded_has_its_words() -> None:
    recorded = recorded_actions()
    assert len(recorded) > 40
    assert {"CREATE", "READ", "REFUSED", "EFFECT_UNKNOWN", "IMPERSONATION_MODE"} <= set(recorded)
    assert {code: path for code, path in recorded.items() if code not in registry.trail_actions()} == {}


def test_every_state_of_an_action_is_drawn() -> None:
    assert {action.state for action in registry.trail_actions().values()} <= set(all_looks())
