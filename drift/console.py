"""What drift tells the console of itself."""

from core.declarations import Gauge, JobKind, Shape, State, Tone
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
)
from snapshots.notices import Captured, EnvironmentRehashed

from . import accepted, acts, changes, detection, gauges, probes, search, session_revert
from .domain_events import EVENTS
from .estate import TILE_PART
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
    record_finders=(
        RecordFinder(label="Check", position=6, find=search.checks),
        RecordFinder(label="Drift", position=30, find=search.incidents, by_id=search.incident_by_id),
    ),
    health_components=(
        HealthComponent(name="drift_schedulers", title="Drift checks", position=47, probe=probes.schedulers),
    ),
    health_services=(
        HealthService(name="drift_detection", components=("database", "workers", "drift_schedulers", "production")),
    ),
    metrics=(
        Gauge(
            name="opsconsole_drift_incidents",
            description="Drift incidents that are open or acknowledged.",
            label="severity",
            read=gauges.incidents_by_severity,
        ),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="drift-schedules", task="drift.tasks.keep_schedules", every_seconds=60.0, expires_seconds=60.0
        ),
    ),
    rest_routers=(
        RestRouter(path="drift.rest.router", tag="drift"),
        RestRouter(path="drift.comment_rest.router", tag="drift"),
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
        Subject(table="incident_comments", noun="comment on a drift incident", title="Comments on drift", position=41),
        Subject(table="drift_policies", noun="drift policy", url_name="drift", url_takes_id=False, changes_access=True),
        Subject(table="drift_schedulers", noun="schedule of drift checks"),
        Subject(table="n8n_upgrades", noun="upgrade of n8n"),
    ),
    tile_parts=(TILE_PART,),
    change_sources=(changes.SOURCE,),
    acceptance_sources=(accepted.SOURCE,),
    states=(
        State(name="detected", shape=Shape.OPEN, tone=Tone.BAD, word="Detected"),
        State(name="acknowledged", shape=Shape.OPEN, tone=Tone.WARN, word="Acknowledged"),
        State(name="stabilized", shape=Shape.IN_SYNC, tone=Tone.GOOD, word="Stabilized"),
        State(name="reconciled", shape=Shape.IN_SYNC, tone=Tone.GOOD, word="Reconciled"),
        State(name="resolved", shape=Shape.IN_SYNC, tone=Tone.GOOD, word="Resolved"),
    ),
    act_words=acts.WORDS,
    act_tellers=(acts.TELLER,),
    job_kinds=(
        JobKind(
            name="drift.check",
            handler="drift.handlers.Check",
            reverter=session_revert.CHECK,
            schedule_follows_setting=True,
            past=(("Check ", "Checked "),),
        ),
        JobKind(
            name="drift.stabilize",
            handler="drift.handlers.Stabilize",
            reverter=session_revert.STABILIZATION,
            past=(("Stabilize ", "Stabilized "),),
            changes_environment=True,
        ),
        JobKind(
            name="drift.reconcile",
            handler="drift.handlers.Reconcile",
            reverter=session_revert.RECONCILE,
            past=(("Reconcile ", "Reconciled "),),
            changes_environment=True,
        ),
        JobKind(
            name="drift.take_back",
            handler="drift.handlers.TakeBack",
            reverter=session_revert.UNDONE_RECONCILE,
            past=(("Take back ", "Took back "),),
            changes_environment=True,
        ),
    ),
    row_reverters=session_revert.ROW_REVERTERS,
    bookkeeping_tables=("drift_memory", "n8n_instances"),
    in_transaction_handlers=(InTransactionHandler(name="drift.rehashed", of=EnvironmentRehashed, handle=rehashed),),
    step_handlers=(
        # The name of a step that is stored in jobs: it stays, whatever the module is called.
        StepHandler(name="drift.detection.captured", of=Captured, handle=detection.captured),
    ),
    events=EVENTS,
    urls=("drift.urls",),
)
