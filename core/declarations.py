"""What an app may declare in its ``console.py`` beside pages and words: jobs, states, grants, parts of pages.

The types of the things that only an upper layer knows are protocols with a name; their own layer knows the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Named(Protocol):
    """Something that is found by its name."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """A kind of background job. ``name`` is stored in ``background_jobs.kind`` and outlives a renamed module.

    ``handler`` is the path of the class that carries it out (``operations.handlers.Handler``), registered there.
    ``reverter`` (``impersonation.reverting.jobbase.JobReverter``) says how a job that a support session started is
    reverted; without one such a job is shown with what to do instead. A schedule that follows a setting of its app
    (``schedule_follows_setting``) is reverted with the setting. ``past`` says a job's title once it is done: pairs of
    words in it and what becomes of them (“Capture”, “Captured”). ``changes_environment``: it writes into the n8n of its
    environment or changes what is approved there, and so belongs to what happened to that environment.
    """

    name: str
    handler: str
    reverter: Any = None
    schedule_follows_setting: bool = False
    past: tuple[tuple[str, str], ...] = ()
    changes_environment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedColumn:
    """A column that holds what ``core.crypto`` encrypted, '' where there is nothing: ``rotate_keys`` encrypts it anew.

    ``model`` is ``app.Model``.
    """

    model: str
    column: str

    @property
    def name(self) -> str:
        return f"{self.model}.{self.column}"


class Shape(StrEnum):
    """The mark of a state, drawn so that it can be told without colour."""

    IN_SYNC = "in-sync"
    DIFFERS = "differs"
    DRIFTED = "drifted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    MISSING = "missing"
    INACTIVE = "inactive"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    OPEN = "open"
    MOVED = "moved"
    ADDED = "added"
    REMOVED = "removed"


class Tone(StrEnum):
    """The colour of a state."""

    GOOD = "good"
    BLUE = "blue"
    WARN = "warn"
    BAD = "bad"
    GREY = "grey"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a state of the app is drawn. ``name`` is in lower case with dashes: ``retry-pending`` for RETRY_PENDING."""

    name: str
    shape: Shape
    tone: Tone
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A permission on a tenant, beside those of ``tenants.models.Grants``. ``name`` is stored, ``words`` are read.

    ``roles`` are those that hold it (``tenants.models.TenantRole``); owners always do. Migrating gives a new one to
    the members whose role holds it.
    """

    name: str
    words: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPart:
    """What an app shows on the page of an environment, drawn by ``template`` with ``facts``.

    ``facts`` is given the environment's id, in the tenant's scope; None shows nothing.
    """

    name: str
    position: int
    template: str
    facts: Callable[[uuid.UUID], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomePart:
    """What an app shows above the matrix on a tenant's home, drawn by ``template`` with ``facts``.

    ``facts`` is given the tenant's id, in the tenant's scope; None shows nothing.
    """

    name: str
    position: int
    template: str
    facts: Callable[[uuid.UUID], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A number for monitoring, read each time ``/metrics`` is asked, in the platform's scope, which only reads.

    ``read`` returns the value, or values by the value of ``label``. ``name`` follows Prometheus: the unit at its end.
    """

    name: str
    description: str
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """One of the things that a new tenant does first: shown on its home until it is done.

    ``is_done`` is asked in the tenant's scope; where the tenant came with examples, ``since`` is when they ended, and
    what lies before is not the tenant's own. ``url`` makes of the tenant's slug where the step is taken; ``grant`` is
    what that page asks for.
    """

    name: str
    position: int
    words: str
    why: str
    is_done: Callable[[datetime | None], bool]
    url: Callable[[str], str]
    grant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """Something that happened to an environment, as ``components/timeline.html`` draws it. ``actor``: who, in words."""

    at: datetime
    actor: str
    title: str
    text: str
    state: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSource:
    """Where an app knows of changes of an environment.

    ``find`` is given the environment's id, the tenant's slug, since when, and how many at the most; in the tenant's
    scope. The newest come first.
    """

    name: str
    find: Callable[[uuid.UUID, str, datetime, int], list[EnvironmentChange]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedDifference:
    """A difference to what is approved that a person left standing, until the workflow changes again."""

    since: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceSource:
    """Where an app knows of differences that people have accepted as they are now.

    ``find`` gives them by the id of the workflow's mapping; in the tenant's scope.
    """

    name: str
    find: Callable[[], Mapping[uuid.UUID, AcceptedDifference]]


SearchRow = dict[str, Any]
"""``title``, ``hint``, ``url`` and ``symbol`` or ``state``, as ``components/command_results.html`` draws it."""


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Whose records the command bar looks through, and which of them.

    ``tenants`` maps ids to (slug, name). In a tenant it is that one and ``tenant_slug`` is set; on the platform's pages
    it is the person's own.
    """

    user_id: uuid.UUID
    tenants: Mapping[uuid.UUID, tuple[str, str]]
    tenant_slug: str = ""
    sees_all_tenants: bool = False
    sees_trail: bool = False
    sees_sessions: bool = False
    sees_all_jobs: bool = False
    #: What the person may do in the tenant whose pages these are.
    grants: frozenset[str] = frozenset()

    @property
    def tenant_ids(self) -> list[uuid.UUID]:
        return list(self.tenants)

    @property
    def tenant_id(self) -> uuid.UUID | None:
        """The tenant whose pages these are, None on the platform's."""
        return next(iter(self.tenants)) if self.tenant_slug else None


#: What may be declared once only: the field of ``Console``, the name in it, and words for it.
UNIQUE = (
    ("destinations", "url_name", "The page"),
    ("destinations", "shortcut", "The shortcut g"),
    ("record_finders", "label", "The group of the command bar"),
    ("health_components", "name", "The health component"),
    ("health_services", "name", "The health service"),
    ("metrics", "name", "The metric"),
    ("event_streams", "name", "The event stream"),
    ("periodic_tasks", "name", "The periodic task"),
    ("rest_routers", "path", "The REST router"),
    ("subjects", "table", "The subject"),
    ("subjects", "job_subject", "The subject of jobs"),
    ("trail_actions", "code", "The action of the trail"),
    ("act_words", "name", "The words of the act"),
    ("act_tellers", "table", "The names of acts on"),
    ("events", "name", "The event"),
    ("events", "payload", "The payload"),
    ("consumers", "name", "The consumer"),
    ("in_transaction_handlers", "name", "The in-transaction handler"),
    ("step_handlers", "name", "The step handler"),
    ("states", "name", "The state"),
    ("grants", "name", "The grant"),
    ("encrypted_columns", "name", "The encrypted column"),
    ("tile_parts", "name", "The part of the estate's tiles"),
    ("home_parts", "name", "The part of a tenant's home"),
    ("environment_parts", "name", "The part of an environment's page"),
    ("first_steps", "name", "The first step"),
    ("change_sources", "name", "The source of changes of an environment"),
    ("acceptance_sources", "name", "The source of accepted differences"),
    ("demo_chapters", "name", "The chapter of the demo"),
    ("reports", "name", "The report"),
    ("job_kinds", "name", "The kind of job"),
    ("row_reverters", "name", "The reverter of rows of"),
)
