"""What promotions tell the console of themselves."""

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
from tenants.models import Grants

from .reading import search

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
        TrailAction(code="promotion.reject", words="Promotion rejected", position=176),
        TrailAction(code="promotion.release", words="Promotion target released", position=177),
    ),
    urls=("promotions.urls",),
)
