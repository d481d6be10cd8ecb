"""What jobs tell the console of themselves."""

from core.declarations import Gauge, Shape, State, Tone
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

from . import acts, changes, gauges, probes, search
from .domain_events import EVENTS
from .estate import TILE_PART

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
    change_sources=(changes.SOURCE,),
    health_components=(
        HealthComponent(name="broker", title="Message broker", position=20, probe=probes.broker, asks_database=False),
        HealthComponent(name="workers", title="Workers", position=30, probe=probes.workers),
        HealthComponent(name="beat", title="Scheduler", position=31, probe=probes.beat),
        HealthComponent(name="schedules", title="Schedules", position=32, probe=probes.schedules),
        HealthComponent(name="disk", title="Disk", position=38, probe=probes.disk, asks_database=False),
        HealthComponent(name="jobs", title="Jobs", position=50, probe=probes.jobs),
    ),
    metrics=(
        Gauge(name="opsconsole_jobs", description="Open jobs.", label="status", read=gauges.jobs_by_status),
        Gauge(
            name="opsconsole_job_leases",
            description="Jobs that a worker holds, has lost, or has yet to let go of after a stop by hand.",
            label="state",
            read=gauges.leases_by_state,
        ),
        Gauge(
            name="opsconsole_job_longest_wait_seconds",
            description="How long the job that is due longest waits for a worker.",
            read=gauges.longest_wait_seconds,
        ),
        Gauge(
            name="opsconsole_schedule_longest_overdue_seconds",
            description="How late the schedule is that is due longest.",
            read=gauges.schedules_overdue_seconds,
        ),
        Gauge(
            name="opsconsole_reaper_age_seconds",
            description="Since beat and a worker left their last sign of life; -1 before the first.",
            read=gauges.reaper_age_seconds,
        ),
        Gauge(
            name="opsconsole_queue_messages",
            description="Messages that no worker has taken yet.",
            label="queue",
            read=gauges.messages_by_queue,
        ),
    ),
    event_streams=(EventStream(name="background-jobs"),),
    periodic_tasks=(PeriodicTask(name="reap", task="operations.tasks.reap", every_seconds="REAPER_INTERVAL_SECONDS"),),
    rest_routers=(RestRouter(path="operations.rest.router", tag="jobs"),),
    subjects=(
        Subject(table="background_jobs", noun="job", title="Jobs", position=50, url_name="job"),
        Subject(table="schedules", noun="schedule"),
    ),
    act_words=acts.WORDS,
    act_tellers=(acts.TELLER,),
    tile_parts=(TILE_PART,),
    states=(
        State(name="intent", shape=Shape.RUNNING, tone=Tone.BLUE, word="Under way"),
        State(name="retry-pending", shape=Shape.PENDING, tone=Tone.WARN, word="Retry pending"),
        State(name="queued", shape=Shape.PENDING, tone=Tone.GREY, word="Queued"),
        State(name="in-progress", shape=Shape.RUNNING, tone=Tone.BLUE, word="In progress"),
        State(name="stopped", shape=Shape.CANCELLED, tone=Tone.GREY, word="Stopped"),
    ),
    bookkeeping_tables=("background_jobs", "operation_steps"),
    events=EVENTS,
    urls=("operations.urls",),
)
