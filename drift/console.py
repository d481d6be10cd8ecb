"""What drift tells the console of itself."""

from core.events import InTransactionHandler, StepHandler
from core.registry import Console, Destination, HealthService, PeriodicTask, RecordFinder, RestRouter, Subject
from snapshots.notices import Captured, EnvironmentRehashed

from . import detection, search
from .domain_events import EVENTS
from .rehashed import rehashed

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
    subjects=(
        Subject(
            table="drift_incidents",
            noun="drift incident",
            title="Drift incidents",
            position=40,
            url_name="drift-incident",
            job_subject="drift_incident",
        ),
        Subject(table="drift_policies", noun="drift policy", url_name="drift", url_takes_id=False),
        Subject(table="drift_schedulers", noun="schedule of drift checks"),
        Subject(table="n8n_upgrades", noun="upgrade of n8n"),
    ),
    in_transaction_handlers=(InTransactionHandler(name="drift.rehashed", of=EnvironmentRehashed, handle=rehashed),),
    step_handlers=(
        # The name of a step that is stored in jobs: it stays, whatever the module is called.
        StepHandler(name="drift.detection.captured", of=Captured, handle=detection.captured),
    ),
    events=EVENTS,
    urls=("drift.urls",),
)
