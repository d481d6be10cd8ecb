"""The declarations of the apps: collected once, without duplicates, and every page that they name exists."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse
from django.utils.module_loading import import_string

from audit.checks import every_watched_table_is_a_subject, watched_tables
from core.registry import Console, Destination, HealthComponent, Registry, Subject, TrailAction, registry
from core.states import all_looks
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


def test_every_declared_page_exists() -> None:
    """A name that does not exist would hide its entry from everybody."""
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


def test_every_declared_task_and_component_exists() -> None:
    from opsconsole.celery import app

    app.loader.import_default_modules()
    assert {task.task for task in registry.periodic_tasks()} <= set(app.tasks)
    assert all(import_string(router.path) for router in registry.rest_routers())
    named = {name for service in registry.health_services().values() for name in service.components}
    assert named <= set(registry.health_components())
