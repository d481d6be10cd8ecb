"""What the audit trail declares."""

from core.events import InTransactionHandler
from core.registry import (
    Audience,
    Console,
    Destination,
    HealthComponent,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
    TrailAction,
)
from tenants.models import Grants
from tenants.notices import SignInLinkShown, SignInsEnded, TokenTriesRefused

from . import handlers, search
from .probes import anchored, mail, sealed
from .reports import REPORTS

console = Console(
    destinations=(
        Destination(
            url_name="trail",
            title="Audit trail",
            search_words="log",
            icon="clipboard-document-list",
            grant=Grants.VIEW_TRAIL,
            rail_position=70,
            shortcut="t",
        ),
        Destination(
            url_name="trail-export",
            title="Export the audit trail",
            search_words="audit CSV OCSF",
            icon="document-arrow-down",
            grant=Grants.VIEW_TRAIL,
        ),
        Destination(
            url_name="platform-trail",
            title="Platform audit trail",
            rail_title="Audit trail",
            icon="clipboard-document-list",
            audience=Audience.TRAIL_READERS,
            rail_position=40,
            shortcut="y",
        ),
        Destination(
            url_name="platform-trail-export",
            title="Export the platform audit trail",
            icon="document-arrow-down",
            audience=Audience.TRAIL_READERS,
        ),
    ),
    record_finders=(RecordFinder(label="Audit trail", position=80, find=search.people, by_id=search.entry_by_number),),
    health_components=(
        HealthComponent(name="trail", title="Trail's anchor", position=60, probe=anchored),
        HealthComponent(name="seals", title="Trail's seals", position=61, probe=sealed),
        HealthComponent(name="mail", title="Mail", position=65, probe=mail, asks_database=False),
    ),
    periodic_tasks=(
        PeriodicTask(
            name="trail-partitions", task="audit.tasks.partitions", every_seconds=3600.0, expires_seconds=600.0
        ),
    ),
    rest_routers=(RestRouter(path="audit.rest.router", tag="trail"),),
    subjects=(
        Subject(table="mails", noun="mail", title="Mails", position=210),
        Subject(table="legal_holds", noun="legal hold", changes_access=True),
    ),
    trail_actions=(
        TrailAction(code="CREATE", words="Created", state="added", position=10),
        TrailAction(code="UPDATE", words="Changed", state="moved", position=20),
        TrailAction(code="DELETE", words="Deleted", state="removed", position=30),
        TrailAction(code="SIGN_IN", words="Signed in", position=40),
        TrailAction(code="SIGN_IN_FAILED", words="Failed to sign in", state="failed", position=50, is_refusal=True),
        TrailAction(code="SIGN_OUT", words="Signed out", position=60),
        TrailAction(code="SIGN_INS_ENDED", words="Sign-ins ended", position=70, changes_access=True),
        TrailAction(code="PASSWORD_CHANGED", words="Password changed", position=80, changes_access=True),
        TrailAction(
            code="SIGN_IN_LINK_SHOWN", words="Sign-in link shown to an admin", position=90, changes_access=True
        ),
        TrailAction(
            code="SECOND_FACTOR_FAILED",
            words="Failed at the second factor",
            state="failed",
            position=100,
            is_refusal=True,
        ),
        TrailAction(code="SECOND_FACTOR_ADDED", words="Second factor added", position=110, changes_access=True),
        TrailAction(code="SECOND_FACTOR_REMOVED", words="Second factor removed", position=120, changes_access=True),
        TrailAction(code="EFFECT_INTENDED", words="Begun outside", state="open", position=130),
        TrailAction(code="EFFECT_DONE", words="Done outside", position=140),
        TrailAction(code="EFFECT_FAILED", words="Failed outside", state="failed", position=150),
        TrailAction(code="EFFECT_UNKNOWN", words="Outcome outside unknown", state="unknown", position=160),
        TrailAction(code="EFFECT_SKIPPED", words="Not begun outside", state="inactive", position=170),
        TrailAction(code="TRAIL_EXPORTED", words="Trail exported", position=230),
        TrailAction(code="TRAIL_SEAL_REJECTED", words="Seal of a stranger passed over", state="failed", position=238),
        TrailAction(code="TRAIL_NOT_ANCHORED", words="Trail not anchored", state="failed", position=240),
        TrailAction(code="TRAIL_ANCHORED", words="Trail anchored again", position=250),
        TrailAction(code="TRAIL_MONTH_RETIRED", words="Month taken out of the trail", position=256),
        TrailAction(
            code="TOKEN_TRIES_REFUSED", words="Tokens tried and refused", state="failed", position=390, is_refusal=True
        ),
    ),
    reports=REPORTS,
    in_transaction_handlers=(
        InTransactionHandler(name="trail.sign-ins-ended", of=SignInsEnded, handle=handlers.sign_ins_ended),
        InTransactionHandler(name="trail.sign-in-link-shown", of=SignInLinkShown, handle=handlers.sign_in_link_shown),
        InTransactionHandler(
            name="trail.token-tries-refused", of=TokenTriesRefused, handle=handlers.token_tries_refused
        ),
    ),
    urls=("audit.urls",),
)
