"""The declarations of the apps: collected once, without duplicates, and every page that they name exists."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse
from django.utils.module_loading import import_string

from core.registry import Console, Destination, HealthComponent, Registry, registry


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


def test_every_declared_task_and_component_exists() -> None:
    from opsconsole.celery import app

    app.loader.import_default_modules()
    assert {task.task for task in registry.periodic_tasks()} <= set(app.tasks)
    assert all(import_string(router.path) for router in registry.rest_routers())
    named = {name for service in registry.health_services().values() for name in service.components}
    assert named <= set(registry.health_components())
