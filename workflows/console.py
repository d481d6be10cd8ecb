"""What environments and workflows tell the console of themselves."""

from core.acts import ActWords
from core.declarations import EncryptedColumn, JobKind, Shape, State, Tone
from core.registry import Console, Destination, HealthComponent, PeriodicTask, RecordFinder, RestRouter, Subject
from tenants.models import Grants

from . import first_steps, probes, search, session_revert
from .access_sources import ENVIRONMENT_GRANTS
from .demo import DEMO_CHAPTER
from .domain_events import EVENTS
from .estate import TILE_PART

console = Console(
    destinations=(
        Destination(
            url_name="tenant-home",
            title="Workflows",
            search_words="matrix",
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
        Destination(
            url_name="approval-rules",
            title="Approval rules",
            search_words="guards jumps second person",
            icon="shield-check",
        ),
        Destination(url_name="credentials", title="Credentials", search_words="stand-ins", icon="key"),
    ),
    record_finders=(
        RecordFinder(label="Environments", position=10, find=search.environments, by_id=search.environment_by_id),
        RecordFinder(label="Workflows", position=20, find=search.workflows),
        RecordFinder(label="Credentials and who uses them", position=24, find=search.credentials),
        RecordFinder(label="Hosts and who calls them", position=74, find=search.hosts),
        RecordFinder(label="Nodes and who has them", position=75, find=search.nodes),
    ),
    health_components=(
        HealthComponent(name="n8n", title="n8n instances", position=45, probe=probes.instances),
        HealthComponent(name="production", title="Reading production", position=46, probe=probes.production),
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
        RestRouter(path="workflows.guard_rest.router", tag="approval rules"),
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
            access_columns=("api_key_encrypted", "base_url", "kind", "is_archived"),
        ),
        Subject(table="canonical_workflows", noun="workflow", title="Workflows", position=60),
        Subject(table="workflows", noun="workflow in n8n", title="Workflows in n8n", position=65),
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
        Subject(
            table="approval_policies",
            noun="approval rules",
            title="Approval rules",
            position=85,
            url_name="approval-rules",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="guard_changes",
            noun="change of a guard",
            title="Changes of guards",
            position=86,
            url_name="approval-rules",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(table="starter_watches", noun="watched starter", title="Watched starters", position=90),
        Subject(
            table="environment_grants",
            noun="grant on an environment",
            title="Grants on environments",
            position=120,
            changes_access=True,
        ),
    ),
    tile_parts=(TILE_PART,),
    home_parts=(first_steps.PART,),
    first_steps=first_steps.STEPS,
    states=(
        State(name="linked", shape=Shape.IN_SYNC, tone=Tone.GOOD, word="Linked"),
        State(name="unmapped", shape=Shape.UNKNOWN, tone=Tone.WARN, word="Unmapped"),
        State(name="untracked", shape=Shape.UNKNOWN, tone=Tone.GREY, word="Untracked"),
        State(name="accepted", shape=Shape.DRIFTED, tone=Tone.GREY, word="Accepted"),
        State(name="ignored", shape=Shape.INACTIVE, tone=Tone.GREY, word="Ignored"),
    ),
    act_words=(
        ActWords(table="environments", action="CREATE", words="Added the environment {name}", position=40),
        ActWords(table="approval_policies", action="UPDATE", words="Changed the approval rules", position=40),
        ActWords(table="guard_changes", action="CREATE", words="Asked to lower a guard", position=35),
    ),
    access_sources=(ENVIRONMENT_GRANTS,),
    job_kinds=(
        JobKind(
            name="environments.test",
            handler="workflows.handlers.TestConnection",
            reverter=session_revert.CONNECTION_TEST,
            past=(("Test ", "Tested "),),
        ),
        JobKind(name="executions.retry", handler="workflows.executions.handlers.Retry", past=(("Retry ", "Retried "),)),
    ),
    row_reverters=session_revert.ROW_REVERTERS,
    bookkeeping_tables=(
        "executions",
        "execution_feeds",
        "workflow_live_versions",
        "starter_watches",
        "known_credentials",
        "environment_surroundings",
    ),
    demo_chapters=(DEMO_CHAPTER,),
    events=EVENTS,
    encrypted_columns=(EncryptedColumn(model="workflows.Environment", column="api_key_encrypted"),),
    urls=("workflows.urls",),
)
