"""What the trail tells the console of itself."""

from core.registry import Audience, Console, Destination, HealthComponent, PeriodicTask, RecordFinder, RestRouter
from tenants.models import Grants

from . import search
from .probes import anchored

console = Console(
    destinations=(
        Destination(
            url_name="trail",
            title="Trail",
            search_words="audit",
            icon="clipboard-document-list",
            grant=Grants.VIEW_TRAIL,
            rail_position=70,
            shortcut="t",
        ),
        Destination(
            url_name="trail-export",
            title="Export the trail",
            search_words="audit CSV OCSF",
            icon="document-arrow-down",
            grant=Grants.VIEW_TRAIL,
        ),
        Destination(
            url_name="platform-trail",
            title="Trail of the platform",
            rail_title="Trail",
            icon="clipboard-document-list",
            audience=Audience.TRAIL_READERS,
            rail_position=40,
            shortcut="y",
        ),
        Destination(
            url_name="platform-trail-export",
            title="Export the trail of the platform",
            icon="document-arrow-down",
            audience=Audience.TRAIL_READERS,
        ),
    ),
    record_finders=(RecordFinder(label="Trail", position=80, find=search.people, by_id=search.entry_by_number),),
    health_components=(HealthComponent(name="trail", title="Trail's anchor", position=60, probe=anchored),),
    periodic_tasks=(
        PeriodicTask(name="seal-trail", task="audit.tasks.seal", every_seconds=60.0, expires_seconds=60.0),
        PeriodicTask(
            name="trail-partitions", task="audit.tasks.partitions", every_seconds=3600.0, expires_seconds=600.0
        ),
    ),
    rest_routers=(RestRouter(path="audit.rest.router", tag="trail"),),
    urls=("audit.urls",),
)
