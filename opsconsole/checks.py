"""What Django checks at start-up: what the apps declare exists, and nothing is missing."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import FieldDoesNotExist
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import module_has_submodule

from core.checks import DECLARATIONS
from core.registry import registry
from operations.handlers import known_kinds
from tenants.models import TenantRole
from tenants.permissions import role_grants

from . import celery


def _error(number: int, app: str, sentence: str, hint: str) -> Error:
    return Error(f"{app}/console.py: {sentence}", hint=hint, id=f"opsconsole.E{number}")


@register(DECLARATIONS)
def every_page_exists(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A name that does not exist would hide its entry from everybody."""
    names = _url_names()
    for app, entry in registry.every("destinations"):
        if entry.url_name not in names:
            yield _error(110, app, f"there is no page “{entry.url_name}”.", "Name it in a urls.py listed in “urls”.")
    for app, subject in registry.every("subjects"):
        for name in (subject.url_name, subject.job_url_name):
            if name and name not in names:
                sentence = f"there is no page “{name}” for the subject {subject.table}."
                yield _error(110, app, sentence, "Name it in a urls.py listed in “urls”.")


def _url_names() -> set[str]:
    return set(_names_in(get_resolver().url_patterns, ""))


def _names_in(patterns: Iterable[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from _names_in(pattern.url_patterns, inner)
        elif pattern.name:
            yield f"{prefix}{pattern.name}"


@register(DECLARATIONS)
def every_periodic_task_exists(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Beat would wake nobody."""
    for config in apps.get_app_configs():
        if module_has_submodule(config.module, "tasks"):
            importlib.import_module(f"{config.name}.tasks")
    return [
        _error(111, app, f"Celery knows no task {task.task}.", "Define it in the app's tasks.py with @shared_task.")
        for app, task in registry.every("periodic_tasks")
        if task.task not in celery.app.tasks
    ]


@register(DECLARATIONS)
def every_kind_of_job_is_declared(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A handler that nobody declares is imported by chance, or not at all."""
    declared = registry.job_kinds()
    return [
        Error(
            f"No console.py declares the kind of job “{kind}”, which has a handler.",
            hint=f"Add JobKind(name={kind!r}, handler=…) to the job_kinds of its app.",
            id="opsconsole.E112",
        )
        for kind in known_kinds()
        if kind not in declared
    ]


@register(DECLARATIONS)
def every_named_component_exists(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Of health services, and of streams that carry news of kinds of jobs."""
    components, kinds = registry.health_components(), registry.job_kinds()
    for app, service in registry.every("health_services"):
        for name in service.components:
            if name not in components:
                sentence = f"the health service “{service.name}” names the component “{name}”, which is not declared."
                yield _error(113, app, sentence, "Add a HealthComponent, or correct the name.")
    for app, stream in registry.every("event_streams"):
        for kind in stream.job_kinds:
            if kind not in kinds:
                sentence = f"the event stream “{stream.name}” names the kind of job “{kind}”, which is not declared."
                yield _error(113, app, sentence, "Add a JobKind, or correct the name.")


@register(DECLARATIONS)
def every_template_exists(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Of parts of the estate's tiles and of a tenant's home."""
    for app, part in (*registry.every("tile_parts"), *registry.every("home_parts")):
        try:
            get_template(part.template)
        except TemplateDoesNotExist:
            sentence = f"there is no template {part.template} for the part “{part.name}”."
            yield _error(114, app, sentence, "Put it into the app's templates/, or correct the name.")


@register(DECLARATIONS)
def every_grant_is_known(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A page that needs a grant which nobody can hold would be open to nobody."""
    known = role_grants(TenantRole.OWNER)
    return [
        _error(
            115, app, f"the page “{entry.url_name}” needs the grant “{entry.grant}”, which nobody has.", "Declare it."
        )
        for app, entry in registry.every("destinations")
        if not entry.is_of_platform and entry.grant not in known
    ]


@register(DECLARATIONS)
def every_encrypted_column_exists(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A misspelt one would keep the old key."""
    for app, column in registry.every("encrypted_columns"):
        try:
            apps.get_model(column.model)._meta.get_field(column.column)
        except (LookupError, FieldDoesNotExist):
            yield _error(116, app, f"there is no column {column.name} to encrypt anew.", "Correct model or column.")
