"""What promotions tell the console of themselves."""

from core.declarations import JobKind, Shape, State, Tone
from core.events import InTransactionHandler, StepHandler
from core.registry import (
    Console,
    Destination,
    EventStream,
    HealthService,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
    TrailAction,
)
from drift.notices import Reconciled
from tenants.models import Grants
from workflows.watching.notices import PeopleOfJob

from . import acts, session_revert
from .domain_events import EVENTS
from .estate import TILE_PART
from .reading import first_steps, search
from .running.recipients import people_of
from .running.reconcile_record import record_reconciled

console = Console(
    destinations=(
        Destination(
            url_name="promotions",
            title="Promotions",
            icon="arrow-up-on-square-stack",
            rail_position=40,
            shortcut="p",
        ),
        Destination(
            url_name="promotion-create",
            title="New promotion",
            search_words="promote",
            icon="arrow-up-on-square-stack",
            grant=Grants.OPERATE,
        ),
    ),
    record_finders=(
        RecordFinder(label="Promotions", position=40, find=search.promotions, by_id=search.promotion_by_id),
    ),
    health_services=(HealthService(name="promotions", components=("database", "workers", "jobs", "git_store")),),
    event_streams=(
        EventStream(name="deployments", job_kinds=("promotions.execute", "promotions.rollback", "snapshots.restore")),
    ),
    periodic_tasks=(
        PeriodicTask(name="settle-promotions", task="promotions.tasks.settle", every_seconds="REAPER_INTERVAL_SECONDS"),
    ),
    rest_routers=(
        RestRouter(path="promotions.rest.router", tag="promotions"),
        RestRouter(path="promotions.reviewing.rest.router", tag="promotions"),
    ),
    subjects=(
        Subject(
            table="promotions",
            noun="promotion",
            title="Promotions",
            position=20,
            url_name="promotion",
            job_subject="promotion",
        ),
        Subject(table="review_comments", noun="comment on a promotion", title="Comments on promotions", position=21),
        Subject(table="review_marks", noun="mark of a review"),
    ),
    tile_parts=(TILE_PART,),
    first_steps=first_steps.STEPS,
    states=(
        State(name="planned", shape=Shape.PENDING, tone=Tone.GREY, word="Planned"),
        State(name="awaiting-approval", shape=Shape.PARKED, tone=Tone.HELD, word="Waiting for approval"),
        State(name="pending-approval", shape=Shape.PARKED, tone=Tone.HELD, word="Waiting for approval"),
        State(name="executing", shape=Shape.RUNNING, tone=Tone.BLUE, word="Running"),
        State(name="rolling-back", shape=Shape.RUNNING, tone=Tone.WARN, word="Rolling back"),
        State(name="rolled-back", shape=Shape.MOVED, tone=Tone.WARN, word="Rolled back"),
        State(name="compensated", shape=Shape.MOVED, tone=Tone.WARN, word="Restored"),
        State(name="compensating", shape=Shape.RUNNING, tone=Tone.WARN, word="Restoring"),
    ),
    trail_actions=(
        TrailAction(code="promotion.approve", words="Promotion approved", position=175),
        TrailAction(code="promotion.reject", words="Promotion rejected", position=176),
        TrailAction(code="promotion.release", words="Promotion target released", position=177),
    ),
    act_words=acts.WORDS,
    act_tellers=(acts.TELLER,),
    job_kinds=(
        JobKind(
            name="promotions.execute",
            handler="promotions.handlers.ExecutePromotion",
            reverter=session_revert.PROMOTION,
            past=(("Promote ", "Promoted "),),
            changes_environment=True,
        ),
        JobKind(
            name="promotions.rollback",
            handler="promotions.handlers.RollBackPromotion",
            reverter=session_revert.ROLLBACK,
            past=(("Roll back ", "Rolled back "),),
            changes_environment=True,
        ),
        JobKind(
            name="promotions.prepare",
            handler="promotions.handlers.PreparePromotion",
            past=(
                ("Prepare ", "Prepared "),
                ("Create ", "Created "),
            ),
        ),
        JobKind(
            name="promotions.test_credentials",
            handler="promotions.handlers.TestCredentials",
            past=(("Test ", "Tested "),),
        ),
    ),
    row_reverters=session_revert.ROW_REVERTERS,
    in_transaction_handlers=(InTransactionHandler(name="promotions.people", of=PeopleOfJob, handle=people_of),),
    step_handlers=(
        # The name of a step that is stored in jobs: it stays, whatever the module is called.
        StepHandler(name="promotions.records.record_reconciled", of=Reconciled, handle=record_reconciled),
    ),
    events=EVENTS,
    urls=("promotions.urls",),
)
