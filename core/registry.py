"""What the apps say of themselves to the console: one ``Console`` each, collected and frozen when Django is ready.

An app writes it in ``<app>/console.py``, under the name ``console``. Nothing else keeps a list of apps: the rail, the
command bar, addresses, health, beat, the trail's words and the generated tests read ``registry``.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string, module_has_submodule

from .acts import ActTeller, ActWords
from .declarations import (
    UNIQUE,
    AcceptanceSource,
    ChangeSource,
    EncryptedColumn,
    EnvironmentPart,
    FirstStep,
    Gauge,
    Grant,
    HomePart,
    JobKind,
    Named,
    SearchRow,
    SearchScope,
    State,
)
from .demo import DemoChapter
from .events import Consumer, EventType, InTransactionHandler, StepHandler
from .reports import AccessSource, Report
from .tiles import TilePart


class Audience(StrEnum):
    """Who is shown a page of the platform; the page itself checks again."""

    EVERYONE = "everyone"
    ADMINS = "admins"
    TRAIL_READERS = "trail readers"  #: admins and compliance officers
    SESSION_READERS = "session readers"  #: those and support
    SUPPORT = "support"  #: who may begin a support session


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A page that people go to by the rail or the command bar.

    ``grant`` is what a person needs in the tenant; ``audience`` is set for pages of the platform instead. The rail
    shows those with a ``rail_position``, in its order, under ``rail_title`` where that differs. ``badge`` counts what
    waits there, beside the title in the rail: it is given the tenant's id in the platform's scope, once per page.
    """

    url_name: str
    title: str
    icon: str
    grant: str = "view_tenant"
    audience: Audience | None = None
    search_words: str = ""
    rail_position: int | None = None
    rail_title: str = ""
    shortcut: str = ""
    in_command_bar: bool = True
    badge: Callable[[uuid.UUID], int] | None = None

    @property
    def is_of_platform(self) -> bool:
        return self.audience is not None

    @property
    def rail_label(self) -> str:
        return self.rail_title or self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFinder:
    """Finds records of one kind by words (``find``) and, where they have ids, by a pasted one (``by_id``).

    Called in the tenant's scope on a tenant's pages, unless it ``is_of_platform``, and in the platform's elsewhere.
    """

    label: str
    position: int
    find: Callable[[str, SearchScope], list[SearchRow]]
    by_id: Callable[[str, SearchScope], list[SearchRow]] | None = None
    is_of_platform: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthComponent:
    """One part of the platform. ``probe`` returns ``{"status": "ok" | "failed" | "unknown", …}``, or raises.

    Without an ``is_essential`` one nothing works at all. What ``asks_database`` waits with the others that do: a
    database that hangs does not keep the rest from being heard.
    """

    name: str
    title: str
    position: int
    probe: Callable[[], dict[str, Any]]
    is_essential: bool = False
    asks_database: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthService:
    """A name that runbooks ask for at ``/api/v1/<name>/healthz``, and the components that stand behind it."""

    name: str
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream:
    """``/api/v1/sse/<name>``: news of jobs of these kinds; of all where there are none."""

    name: str
    job_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """What beat wakes. ``every_seconds`` may be the name of a setting. A late one is dropped after ``expires_seconds``.

    Tasks run twice are harmless: what is due is claimed by its row.
    """

    name: str
    task: str
    every_seconds: float | str
    expires_seconds: float | None = None
    queue: str = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRouter:
    """``path``: ``module.attribute`` of a ninja router; imported when the API is put together."""

    path: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What entries of the trail and jobs are about: the rows of one table, or events about something without one.

    ``noun`` is one of them in the middle of a sentence; ``title`` all of them, as the trail's filter offers them
    (without a title it does not). ``url_name`` is the page of one, or of all where it takes no id.
    ``job_subject`` is the ``subject_type`` of jobs that work on it; they lead to ``job_url_name`` if not to the same
    page. ``changes_access``: any change of a row changes who gets in or what guards the rest; with ``access_columns``
    only that a row comes or goes, or a change of one of these. Both are in the report of privileged changes.
    """

    table: str
    noun: str
    title: str = ""
    position: int = 1000
    url_name: str = ""
    url_takes_id: bool = True
    job_subject: str = ""
    job_url_name: str = ""
    changes_access: bool = False
    access_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailAction:
    """What an entry of the trail says was done, in words, and the state that it is drawn in (``core.states``).

    One that ``changes_access`` is in the report of privileged changes, one that ``is_refusal`` in that of refusals.
    """

    code: str
    words: str
    state: str = "completed"
    position: int = 1000
    changes_access: bool = False
    is_refusal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The declaration of one app. What it does not have, it leaves out."""

    destinations: tuple[Destination, ...] = ()
    record_finders: tuple[RecordFinder, ...] = ()
    health_components: tuple[HealthComponent, ...] = ()
    health_services: tuple[HealthService, ...] = ()
    metrics: tuple[Gauge, ...] = ()
    event_streams: tuple[EventStream, ...] = ()
    periodic_tasks: tuple[PeriodicTask, ...] = ()
    rest_routers: tuple[RestRouter, ...] = ()
    subjects: tuple[Subject, ...] = ()
    trail_actions: tuple[TrailAction, ...] = ()
    act_words: tuple[ActWords, ...] = ()
    act_tellers: tuple[ActTeller, ...] = ()
    states: tuple[State, ...] = ()
    grants: tuple[Grant, ...] = ()
    tile_parts: tuple[TilePart, ...] = ()
    home_parts: tuple[HomePart, ...] = ()
    environment_parts: tuple[EnvironmentPart, ...] = ()
    first_steps: tuple[FirstStep, ...] = ()
    change_sources: tuple[ChangeSource, ...] = ()
    acceptance_sources: tuple[AcceptanceSource, ...] = ()
    demo_chapters: tuple[DemoChapter, ...] = ()
    reports: tuple[Report, ...] = ()
    access_sources: tuple[AccessSource, ...] = ()
    job_kinds: tuple[JobKind, ...] = ()
    #: How rows that a support session wrote are reverted (``impersonation.reverting.rowbase.RowReverter``), by table.
    row_reverters: tuple[Named, ...] = ()
    #: Tables of the console's own notes: the trail need not watch them, and reverting a session passes over them.
    bookkeeping_tables: tuple[str, ...] = ()
    events: tuple[EventType, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    in_transaction_handlers: tuple[InTransactionHandler, ...] = ()
    step_handlers: tuple[StepHandler, ...] = ()
    encrypted_columns: tuple[EncryptedColumn, ...] = ()
    #: Modules with ``urlpatterns`` of a tenant and, where it has pages of the platform, ``platform_urlpatterns``.
    urls: tuple[str, ...] = ()


@dataclass(slots=True)
class Registry:
    """The declarations of all installed apps, by the app's name, in the order of ``INSTALLED_APPS``."""

    consoles: dict[str, Console] = field(default_factory=dict)
    is_frozen: bool = False
    #: What every row of a page asks for: put in order once.
    _subjects: dict[str, Subject] = field(default_factory=dict)
    _trail_actions: dict[str, TrailAction] = field(default_factory=dict)
    _states: dict[str, State] = field(default_factory=dict)

    def collect(self) -> None:
        """Import ``console`` of every installed app that has one, and check that they agree. Once, at start-up."""
        for config in apps.get_app_configs():
            if module_has_submodule(config.module, "console"):
                module = importlib.import_module(f"{config.name}.console")
                declared = getattr(module, "console", None)
                if not isinstance(declared, Console):
                    raise ImproperlyConfigured(f"{config.name}/console.py has to hold a Console named “console”.")
                self.consoles[config.name] = declared
        self.check()
        self.is_frozen = True
        self.import_handlers()

    def import_handlers(self) -> None:
        """Import the handler of each kind of job. Raises ``ImproperlyConfigured`` where one is missing."""
        for app, kind in self.every("job_kinds"):
            try:
                handler = import_string(kind.handler)
            except ImportError as error:
                raise ImproperlyConfigured(
                    f"{app}/console.py: the kind of job “{kind.name}” has no handler {kind.handler}: {error}"
                ) from error
            if getattr(handler, "kind", None) != kind.name:
                raise ImproperlyConfigured(f"{app}/console.py: {kind.handler} is not the handler of “{kind.name}”.")

    def every(self, kind: str) -> Iterator[tuple[str, Any]]:
        """(app, declared thing) of one field of ``Console``."""
        if not self.is_frozen:
            raise ImproperlyConfigured("The console's registry is read before Django is ready.")
        for app, console in self.consoles.items():
            for thing in getattr(console, kind):
                yield app, thing

    def check(self) -> None:
        """Raise ``ImproperlyConfigured`` where two apps declare the same thing."""
        for kind, key, words in UNIQUE:
            owners: dict[Any, list[str]] = {}
            for app, console in self.consoles.items():
                for thing in getattr(console, kind):
                    if name := getattr(thing, key):
                        owners.setdefault(name, []).append(app)
            for name, apps_of_it in owners.items():
                if len(apps_of_it) > 1:
                    raise ImproperlyConfigured(f"{words} “{name}” is declared by {' and by '.join(apps_of_it)}.")
        self._check_consumers()

    def _check_consumers(self) -> None:
        """Raise ``ImproperlyConfigured`` where a consumer waits for an event that no app publishes."""
        published = {event.payload for console in self.consoles.values() for event in console.events}
        for app, console in self.consoles.items():
            for consumer in console.consumers:
                if unknown := [payload.__name__ for payload in consumer.events if payload not in published]:
                    sentence = f"waits for {unknown[0]}, which no app has among its events."
                    raise ImproperlyConfigured(f"The consumer “{consumer.name}” of {app} {sentence}")

    # -- what is read of it -------------------------------------------------------------------------------------------

    def destinations(self, *, of_platform: bool) -> list[Destination]:
        """Of tenants or of the platform, in the order of the rail; those that are not in it come last."""
        found = [entry for _, entry in self.every("destinations") if entry.is_of_platform is of_platform]
        return sorted(found, key=lambda entry: entry.rail_position if entry.rail_position is not None else 1000)

    def rail(self, *, of_platform: bool) -> list[Destination]:
        return [entry for entry in self.destinations(of_platform=of_platform) if entry.rail_position is not None]

    def record_finders(self) -> list[RecordFinder]:
        return sorted((finder for _, finder in self.every("record_finders")), key=lambda finder: finder.position)

    def health_components(self) -> dict[str, HealthComponent]:
        found = sorted((part for _, part in self.every("health_components")), key=lambda part: part.position)
        return {part.name: part for part in found}

    def health_services(self) -> dict[str, HealthService]:
        return {service.name: service for _, service in self.every("health_services")}

    def metrics(self) -> list[Gauge]:
        return [gauge for _, gauge in self.every("metrics")]

    def event_streams(self) -> dict[str, EventStream]:
        return {stream.name: stream for _, stream in self.every("event_streams")}

    def periodic_tasks(self) -> list[PeriodicTask]:
        return [task for _, task in self.every("periodic_tasks")]

    def rest_routers(self) -> list[RestRouter]:
        return [router for _, router in self.every("rest_routers")]

    def subjects(self) -> dict[str, Subject]:
        """By table, in the order in which the trail's filter offers them."""
        if not self._subjects:
            found = sorted((subject for _, subject in self.every("subjects")), key=lambda subject: subject.position)
            self._subjects = {subject.table: subject for subject in found}
        return self._subjects

    def noun(self, table: str) -> str:
        """What one row of a table is called in a sentence."""
        subject = self.subjects().get(table)
        return subject.noun if subject else table.replace("_", " ")

    def job_pages(self) -> dict[str, str]:
        """Where the thing that a job works on has its page: the job's subject to the name of the address."""
        named = (subject for subject in self.subjects().values() if subject.job_subject)
        return {subject.job_subject: subject.job_url_name or subject.url_name for subject in named}

    def trail_actions(self) -> dict[str, TrailAction]:
        """By code, in the order in which the trail's filter offers them."""
        if not self._trail_actions:
            found = sorted((action for _, action in self.every("trail_actions")), key=lambda action: action.position)
            self._trail_actions = {action.code: action for action in found}
        return self._trail_actions

    def event_types(self) -> dict[str, EventType]:
        """By stored name."""
        return {event.name: event for _, event in self.every("events")}

    def consumers(self) -> dict[str, Consumer]:
        """By stored name."""
        return {consumer.name: consumer for _, consumer in self.every("consumers")}

    def in_transaction_handlers(self, of: type[Any]) -> list[InTransactionHandler]:
        """Of one class of notices, in the order of ``INSTALLED_APPS``."""
        return [handler for _, handler in self.every("in_transaction_handlers") if handler.of is of]

    def step_handlers(self, of: type[Any]) -> list[StepHandler]:
        """Of one class of notices, by name: the order of steps does not depend on who is installed first."""
        found = (handler for _, handler in self.every("step_handlers") if handler.of is of)
        return sorted(found, key=lambda handler: handler.name)

    def states(self) -> dict[str, State]:
        """By name."""
        if not self._states:
            self._states = {state.name: state for _, state in self.every("states")}
        return self._states

    def grants(self) -> list[Grant]:
        return [grant for _, grant in self.every("grants")]

    def badges(self, tenant_id: uuid.UUID) -> dict[str, int]:
        """What waits behind the rail's entries, by the name of the page. In the platform's scope."""
        entries = self.rail(of_platform=False)
        return {entry.url_name: entry.badge(tenant_id) for entry in entries if entry.badge is not None}

    def home_parts(self) -> list[HomePart]:
        """In the order in which they are drawn."""
        return sorted((part for _, part in self.every("home_parts")), key=lambda part: part.position)

    def change_sources(self) -> list[ChangeSource]:
        return [source for _, source in self.every("change_sources")]

    def acceptance_sources(self) -> list[AcceptanceSource]:
        return [source for _, source in self.every("acceptance_sources")]

    def first_steps(self) -> list[FirstStep]:
        """In the order in which they are taken."""
        return sorted((step for _, step in self.every("first_steps")), key=lambda step: step.position)

    def tile_parts(self) -> list[TilePart]:
        """In the order in which they are drawn."""
        return sorted((part for _, part in self.every("tile_parts")), key=lambda part: part.position)

    def demo_chapters(self) -> list[DemoChapter]:
        return sorted((chapter for _, chapter in self.every("demo_chapters")), key=lambda chapter: chapter.position)

    def reports(self) -> dict[str, Report]:
        """By name, in the order of the list."""
        found = sorted((report for _, report in self.every("reports")), key=lambda report: report.position)
        return {report.name: report for report in found}

    def access_sources(self) -> list[AccessSource]:
        return [source for _, source in self.every("access_sources")]

    def job_kinds(self) -> dict[str, JobKind]:
        return {kind.name: kind for _, kind in self.every("job_kinds")}

    def job_reverters(self) -> dict[str, Any]:
        """By kind of job."""
        return {kind.name: kind.reverter for _, kind in self.every("job_kinds") if kind.reverter is not None}

    def row_reverters(self) -> dict[str, Any]:
        """By table."""
        return {reverter.name: reverter for _, reverter in self.every("row_reverters")}

    def bookkeeping_tables(self) -> list[str]:
        return [table for _, table in self.every("bookkeeping_tables")]

    def encrypted_columns(self) -> list[EncryptedColumn]:
        return [column for _, column in self.every("encrypted_columns")]

    def urls(self) -> list[str]:
        return [module for _, module in self.every("urls")]


registry = Registry()
