"""The pages that belong to no app: the estate, health, the API's description, Django's admin."""

from core.registry import Audience, Console, Destination, PeriodicTask

console = Console(
    destinations=(
        Destination(
            url_name="estate",
            title="Estate",
            search_words="all tenants",
            icon="squares-2x2",
            audience=Audience.EVERYONE,
            rail_position=10,
            shortcut="h",
        ),
        Destination(url_name="api-docs", title="API reference", icon="book-open", audience=Audience.EVERYONE),
        Destination(
            url_name="platform-health",
            title="Health of the platform",
            rail_title="Health",
            icon="signal",
            audience=Audience.ADMINS,
            rail_position=90,
            shortcut="a",
        ),
        Destination(
            url_name="admin:index",
            title="Admin",
            icon="wrench-screwdriver",
            audience=Audience.ADMINS,
            rail_position=100,
            shortcut="x",
            in_command_bar=False,
        ),
    ),
    periodic_tasks=(
        PeriodicTask(name="demo", task="opsconsole.tasks.keep_demo_fresh", every_seconds=60.0, expires_seconds=60.0),
    ),
)
