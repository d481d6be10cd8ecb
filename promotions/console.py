"""What promotions tell the console of themselves."""

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

from . import search
from .concerned import people_of
from .domain_events import EVENTS
from .records import record_reconciled

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
    rest_routers=(RestRouter(path="promotions.rest.router", tag="promotions"),),
    subjects=(
        Subject(
            table="promotions",
            noun="promotion",
            title="Promotions",
            position=20,
            url_name="promotion",
            job_subject="promotion",
        ),
    ),
    trail_actions=(
        TrailAction(code="promotion.approve", words="Promotion approved", position=175),
        TrailAction(code="promotion.reject", words="Promotion turned down", position=176),
        TrailAction(code="promotion.release", words="Target of a promotion let go", position=177),
    ),
    in_transaction_handlers=(InTransactionHandler(name="promotions.people", of=PeopleOfJob, handle=people_of),),
    step_handlers=(
        # The name of a step that is stored in jobs: it stays, whatever the module is called.
        StepHandler(name="promotions.records.record_reconciled", of=Reconciled, handle=record_reconciled),
    ),
    events=EVENTS,
    urls=("promotions.urls",),
)
