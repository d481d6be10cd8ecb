"""What jobs tell the console of themselves."""

from core.registry import (
    Audience,
    Console,
    Destination,
    EventStream,
    HealthComponent,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
)

from . import probes, search
from .domain_events import EVENTS

console = Console(
    destinations=(
        Destination(url_name="jobs", title="Jobs", icon="queue-list", rail_position=60, shortcut="j"),
        Destination(
            url_name="platform-jobs",
            title="Jobs of every tenant",
            rail_title="Jobs",
            icon="queue-list",
            audience=Audience.ADMINS,
            rail_position=80,
            shortcut="o",
        ),
    ),
    record_finders=(RecordFinder(label="Jobs", position=50, find=search.jobs, by_id=search.job_by_id),),
    health_components=(
        HealthComponent(name="broker", title="Message broker", position=20, probe=probes.broker),
        HealthComponent(name="workers", title="Workers and scheduler", position=30, probe=probes.workers),
        HealthComponent(name="jobs", title="Jobs", position=50, probe=probes.jobs),
    ),
    event_streams=(EventStream(name="background-jobs"),),
    periodic_tasks=(PeriodicTask(name="reap", task="operations.tasks.reap", every_seconds="REAPER_INTERVAL_SECONDS"),),
    rest_routers=(RestRouter(path="operations.rest.router", tag="jobs"),),
    subjects=(
        Subject(table="background_jobs", noun="job", title="Jobs", position=50, url_name="job"),
        Subject(table="schedules", noun="schedule"),
    ),
    events=EVENTS,
    urls=("operations.urls",),
)
