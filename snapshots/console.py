"""What snapshots and restores tell the console of themselves."""

from django.urls import reverse

from core.declarations import EnvironmentPart, FirstStep, Gauge, JobKind, Shape, State, Tone
from core.events import InTransactionHandler, StepHandler
from core.registry import (
    Console,
    Destination,
    HealthComponent,
    HealthService,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
    TrailAction,
)
from tenants.models import Grants
from workflows.linking import Relinked
from workflows.notices import Connected

from . import first_capture, gauges, search, selectors, session_revert
from .domain_events import EVENTS
from .probes import git_remotes, git_store
from .relinking import move_in_git

console = Console(
    record_finders=(
        RecordFinder(label="Capture", position=5, find=search.captures),
        RecordFinder(label="Snapshots", position=35, find=search.snapshots, by_id=search.snapshot_by_id),
    ),
    destinations=(
        Destination(url_name="snapshots", title="Snapshots", icon="camera", rail_position=30, shortcut="s"),
        Destination(
            url_name="compare",
            title="Compare",
            search_words="diff difference now approved live draft snapshot",
            icon="arrows-right-left",
            rail_position=35,
            shortcut="c",
        ),
    ),
    health_components=(
        HealthComponent(name="git_store", title="Git store", position=40, probe=git_store),
        HealthComponent(name="git_remotes", title="Git remotes", position=42, probe=git_remotes),
    ),
    health_services=(
        HealthService(name="snapshots", components=("database", "git_store")),
        HealthService(name="restore", components=("database", "git_store", "workers")),
    ),
    metrics=(
        Gauge(
            name="opsconsole_environments",
            description="Environments in use, by how their last capture ended.",
            label="capture",
            read=gauges.environments_by_capture,
        ),
        Gauge(
            name="opsconsole_oldest_capture_seconds",
            description="The age of the oldest last capture.",
            read=gauges.oldest_capture_seconds,
        ),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="git-stores", task="snapshots.tasks.keep_schedules", every_seconds=3600.0, expires_seconds=600.0
        ),
        PeriodicTask(name="git-remotes", task="snapshots.tasks.keep_copied", every_seconds=30.0, expires_seconds=30.0),
        PeriodicTask(name="commits", task="snapshots.tasks.name_commits", every_seconds=15.0, expires_seconds=15.0),
        PeriodicTask(name="contents", task="snapshots.tasks.keep_contents", every_seconds=10.0, expires_seconds=10.0),
        PeriodicTask(name="hashes", task="snapshots.tasks.keep_hashes", every_seconds=60.0, expires_seconds=60.0),
    ),
    rest_routers=(
        RestRouter(path="snapshots.rest.router", tag="snapshots and restores"),
        RestRouter(path="snapshots.rehearsal.rest.router", tag="environments"),
    ),
    subjects=(
        Subject(
            table="snapshots",
            noun="snapshot",
            title="Snapshots",
            position=30,
            url_name="snapshot",
            job_subject="snapshot",
        ),
    ),
    states=(State(name="restored", shape=Shape.MOVED, tone=Tone.WARN, word="Restored"),),
    trail_actions=(TrailAction(code="SNAPSHOT_DOWNLOADED", words="Snapshot downloaded", position=220),),
    job_kinds=(
        JobKind(
            name="snapshots.capture",
            handler="snapshots.handlers.Capture",
            reverter=session_revert.CAPTURE,
            past=(
                ("Capture ", "Captured "),
                (" and approve it", " and approved it"),
            ),
        ),
        JobKind(
            name="snapshots.verify",
            handler="snapshots.handlers.Verify",
            reverter=session_revert.VERIFY,
            past=(("Verify ", "Verified "),),
        ),
        JobKind(name="snapshots.maintain", handler="snapshots.handlers.Maintain", past=(("Pack ", "Packed "),)),
        JobKind(name="snapshots.push", handler="snapshots.handlers.Push", past=(("Copy ", "Copied "),)),
        JobKind(
            name="snapshots.restore",
            handler="snapshots.handlers.Restore",
            reverter=session_revert.RESTORE,
            past=(
                ("Restore ", "Restored "),
                ("Try out ", "Tried out "),
            ),
            changes_environment=True,
        ),
        JobKind(
            name="snapshots.rehearse",
            handler="snapshots.rehearsal.running.Rehearse",
            past=(("Rehearse ", "Rehearsed "),),
        ),
        JobKind(name="snapshots.relink", handler="snapshots.relinking.Relink", past=(("Move ", "Moved "),)),
        JobKind(name="snapshots.rehash", handler="snapshots.rehashing.Rehash", past=(("Compute ", "Computed "),)),
        JobKind(
            name="impersonation.put_back",
            handler="snapshots.session_restore.SessionRestore",
            changes_environment=True,
        ),
    ),
    row_reverters=session_revert.ROW_REVERTERS,
    bookkeeping_tables=("n8n_rehearsals", "workflow_contents"),
    in_transaction_handlers=(InTransactionHandler(name="snapshots.move-relinked", of=Relinked, handle=move_in_git),),
    step_handlers=(
        StepHandler(
            name="snapshots.first_capture", of=Connected, handle=first_capture.begin, title="Begin the first capture"
        ),
    ),
    first_steps=(
        FirstStep(
            name="capture",
            position=20,
            words="Capture it",
            why="A capture puts every workflow into Git. The first one is what later changes are compared with.",
            is_done=first_capture.is_done,
            url=lambda slug: reverse("snapshot-create", args=[slug]),
            grant=Grants.OPERATE,
        ),
    ),
    events=EVENTS,
    environment_parts=(
        EnvironmentPart(
            name="set-aside", position=10, template="snapshots/_set_aside.html", facts=selectors.set_aside_part
        ),
    ),
    urls=("snapshots.urls",),
)
