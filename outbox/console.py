"""What the outbox tells the console of itself."""

from core.declarations import Gauge
from core.registry import Audience, Console, Destination, HealthComponent, PeriodicTask, RestRouter, Subject

from . import gauges, probes

console = Console(
    destinations=(
        Destination(
            url_name="platform-events",
            title="Events between apps",
            rail_title="Events",
            search_words="outbox consumers parked",
            icon="arrows-right-left",
            audience=Audience.ADMINS,
        ),
    ),
    health_components=(HealthComponent(name="outbox", title="Events", position=55, probe=probes.consumers),),
    metrics=(
        Gauge(
            name="opsconsole_outbox_lag_seconds",
            description="Age of the oldest event that a consumer has not handled.",
            read=gauges.lag_seconds,
            label="consumer",
        ),
        Gauge(
            name="opsconsole_outbox_parked_events",
            description="Events that a consumer has given up at.",
            read=gauges.parked_events,
            label="consumer",
        ),
    ),
    periodic_tasks=(
        PeriodicTask(name="outbox", task="outbox.tasks.deliver", every_seconds="OUTBOX_INTERVAL_SECONDS"),
        PeriodicTask(
            name="outbox-retention", task="outbox.tasks.delete_old", every_seconds=3600.0, expires_seconds=600.0
        ),
    ),
    rest_routers=(RestRouter(path="outbox.rest.router", tag="events"),),
    subjects=(Subject(table="outbox_parked_events", noun="parked event", title="Parked events", position=220),),
    bookkeeping_tables=("outbox_events", "outbox_delays", "outbox_parked_events"),
    urls=("outbox.urls",),
)
