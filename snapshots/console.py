"""What snapshots and restores tell the console of themselves."""

from core.events import InTransactionHandler
from core.registry import (
    Console,
    Destination,
    HealthComponent,
    HealthService,
    PeriodicTask,
    RestRouter,
    Subject,
    TrailAction,
)
from workflows.linking import Relinked

from .domain_events import EVENTS
from .probes import git_store
from .relinking import move_in_git

console = Console(
    destinations=(Destination(url_name="snapshots", title="Snapshots", icon="camera", rail_position=30, shortcut="s"),),
    health_components=(HealthComponent(name="git_store", title="Git store", position=40, probe=git_store),),
    health_services=(
        HealthService(name="snapshots", components=("database", "git_store")),
        HealthService(name="restore", components=("database", "git_store", "workers")),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="git-stores", task="snapshots.tasks.keep_schedules", every_seconds=3600.0, expires_seconds=600.0
        ),
        PeriodicTask(name="git-remotes", task="snapshots.tasks.keep_copied", every_seconds=30.0, expires_seconds=30.0),
        PeriodicTask(name="commits", task="snapshots.tasks.name_commits", every_seconds=15.0, expires_seconds=15.0),
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
    trail_actions=(TrailAction(code="SNAPSHOT_DOWNLOADED", words="Snapshot downloaded", position=220),),
    in_transaction_handlers=(InTransactionHandler(name="snapshots.move-relinked", of=Relinked, handle=move_in_git),),
    events=EVENTS,
    urls=("snapshots.urls",),
)
