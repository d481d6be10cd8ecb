"""What drift tells the console of itself."""

from core.registry import Console, Destination, HealthService, PeriodicTask, RecordFinder, RestRouter

from . import search

console = Console(
    destinations=(
        Destination(
            url_name="drift",
            title="Drift",
            search_words="incidents",
            icon="arrows-right-left",
            rail_position=50,
            shortcut="d",
        ),
    ),
    record_finders=(RecordFinder(label="Drift", position=30, find=search.incidents, by_id=search.incident_by_id),),
    health_services=(HealthService(name="drift_detection", components=("database", "workers")),),
    periodic_tasks=(
        PeriodicTask(
            name="drift-schedules", task="drift.tasks.keep_schedules", every_seconds=60.0, expires_seconds=60.0
        ),
    ),
    rest_routers=(
        RestRouter(path="drift.rest.router", tag="drift"),
        RestRouter(path="drift.upgrade_rest.router", tag="drift"),
    ),
    urls=("drift.urls",),
)
