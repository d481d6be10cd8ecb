"""What environments and workflows tell the console of themselves."""

from core.registry import Console, Destination, PeriodicTask, RecordFinder, RestRouter, Subject
from tenants.models import Grants

from . import search
from .domain_events import EVENTS

console = Console(
    destinations=(
        Destination(
            url_name="tenant-home",
            title="Matrix",
            search_words="workflows",
            icon="table-cells",
            rail_position=10,
            shortcut="m",
        ),
        Destination(url_name="environments", title="Environments", icon="server-stack", rail_position=20, shortcut="e"),
        Destination(
            url_name="environment-create",
            title="Add an environment",
            icon="plus",
            grant=Grants.MANAGE_ENVIRONMENTS,
        ),
        Destination(url_name="credentials", title="Credentials", search_words="stand-ins", icon="key"),
    ),
    record_finders=(
        RecordFinder(label="Environments", position=10, find=search.environments, by_id=search.environment_by_id),
        RecordFinder(label="Workflows", position=20, find=search.workflows),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="executions", task="workflows.tasks.keep_executions_read", every_seconds=20.0, expires_seconds=20.0
        ),
        PeriodicTask(
            name="watched-starters", task="workflows.tasks.keep_watch", every_seconds=15.0, expires_seconds=15.0
        ),
    ),
    rest_routers=(
        RestRouter(path="workflows.rest.router", tag="environments"),
        RestRouter(path="workflows.executions.rest.router", tag="executions"),
    ),
    subjects=(
        Subject(
            table="environments",
            noun="environment",
            title="Environments",
            position=10,
            url_name="environment",
            job_subject="environment",
        ),
        Subject(table="canonical_workflows", noun="workflow", title="Workflows", position=60),
        Subject(
            table="workflow_env_map", noun="workflow in an environment", title="Workflows in environments", position=70
        ),
        Subject(
            table="credential_mappings",
            noun="credential stand-in",
            title="Credential stand-ins",
            position=80,
            url_name="credentials",
            url_takes_id=False,
        ),
        Subject(table="starter_watches", noun="watched starter", title="Watched starters", position=90),
        Subject(
            table="environment_grants", noun="grant on an environment", title="Grants on environments", position=120
        ),
    ),
    events=EVENTS,
    urls=("workflows.urls",),
)
