"""What tenants and people tell the console of themselves."""

from core.declarations import EncryptedColumn, Shape, State, Tone
from core.registry import (
    Audience,
    Console,
    Destination,
    HealthComponent,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
)

from . import acts, search
from .access_sources import ACCESS_SOURCES
from .models import Grants
from .probes import database, pool

console = Console(
    destinations=(
        Destination(
            url_name="members", title="Members", search_words="people", icon="users", rail_position=100, shortcut="u"
        ),
        Destination(
            url_name="tokens",
            title="Tokens",
            search_words="API keys",
            icon="key",
            grant=Grants.MANAGE_TOKENS,
            rail_position=110,
            shortcut="k",
        ),
        Destination(url_name="tenant-settings", title="Settings", icon="cog-6-tooth", rail_position=120, shortcut=","),
        Destination(
            url_name="user_sessions",
            title="Where you are signed in",
            search_words="sessions",
            icon="computer-desktop",
            audience=Audience.EVERYONE,
        ),
        Destination(
            url_name="mfa_index",
            title="Two-factor sign-in and passkeys",
            icon="finger-print",
            audience=Audience.EVERYONE,
        ),
        Destination(
            url_name="account_change_password",
            title="Change password",
            icon="lock-closed",
            audience=Audience.EVERYONE,
        ),
        Destination(
            url_name="tenants",
            title="Tenants",
            search_words="new tenant",
            icon="building-office-2",
            audience=Audience.SESSION_READERS,
            rail_position=20,
            shortcut="n",
        ),
        Destination(
            url_name="people",
            title="People",
            search_words="platform roles",
            icon="users",
            audience=Audience.ADMINS,
            rail_position=30,
            shortcut="w",
        ),
    ),
    record_finders=(
        RecordFinder(label="People", position=70, find=search.members),
        RecordFinder(label="Tenants", position=90, find=search.tenants, is_of_platform=True),
    ),
    health_components=(
        HealthComponent(name="database", title="Database", position=10, probe=database, is_essential=True),
        HealthComponent(name="pool", title="Database connections", position=12, probe=pool),
    ),
    periodic_tasks=(PeriodicTask(name="tidy", task="tenants.tasks.tidy", every_seconds=3600.0, expires_seconds=600.0),),
    rest_routers=(RestRouter(path="tenants.rest.router", tag="tenants"),),
    subjects=(
        Subject(
            table="memberships",
            noun="member",
            title="Members",
            position=100,
            url_name="members",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="invitations",
            noun="invitation",
            title="Invitations",
            position=105,
            url_name="members",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="tenant_grants",
            noun="grant",
            title="Grants",
            position=110,
            url_name="members",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="api_tokens",
            noun="token",
            title="Tokens",
            position=130,
            url_name="tokens",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="tenants",
            noun="tenant",
            title="Tenants",
            position=140,
            url_name="tenant-settings",
            url_takes_id=False,
            changes_access=True,
        ),
        Subject(
            table="users",
            noun="person",
            title="People and sign-ins",
            position=150,
            access_columns=("role", "is_active", "is_staff", "is_superuser", "is_service", "password", "email"),
        ),
        Subject(
            table="user_sessions", noun="sign-in", title="Sign-ins taken away by SQL", position=160, changes_access=True
        ),
        Subject(
            table="platform_admins", noun="platform admin", title="Platform admins", position=170, changes_access=True
        ),
    ),
    states=(State(name="revoked", shape=Shape.CANCELLED, tone=Tone.GREY, word="Revoked"),),
    act_words=acts.WORDS,
    act_tellers=(acts.TELLER,),
    access_sources=ACCESS_SOURCES,
    bookkeeping_tables=("idempotency_keys", "user_sessions"),
    encrypted_columns=(EncryptedColumn(model="tenants.Tenant", column="git_remote_secret"),),
    urls=("tenants.urls",),
)
