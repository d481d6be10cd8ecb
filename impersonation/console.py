"""What support sessions tell the console of themselves."""

from core.registry import Audience, Console, Destination, PeriodicTask, RecordFinder, RestRouter
from tenants.models import Grants

from . import search

console = Console(
    destinations=(
        Destination(
            url_name="support-access",
            title="Support access",
            search_words="sessions",
            icon="lifebuoy",
            grant=Grants.VIEW_TRAIL,
            rail_position=80,
            shortcut="v",
        ),
        Destination(
            url_name="tenant-emergency",
            title="Emergency",
            search_words="revoke tokens sign out reset credentials",
            icon="shield-exclamation",
            grant=Grants.ADMINISTER,
        ),
        Destination(
            url_name="support-sessions",
            title="Support sessions",
            rail_title="Support",
            icon="lifebuoy",
            audience=Audience.SESSION_READERS,
            rail_position=60,
            shortcut="i",
        ),
        Destination(
            url_name="support-start",
            title="Start a support session",
            icon="lifebuoy",
            audience=Audience.SUPPORT,
        ),
    ),
    record_finders=(
        RecordFinder(label="Support sessions", position=60, find=search.sessions, by_id=search.session_by_id),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="settle-support-sessions",
            task="impersonation.tasks.settle",
            every_seconds="REAPER_INTERVAL_SECONDS",
        ),
    ),
    rest_routers=(RestRouter(path="impersonation.rest.router", tag="support sessions"),),
    urls=("impersonation.urls",),
)
