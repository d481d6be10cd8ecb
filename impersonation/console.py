"""What support sessions declare."""

from core.declarations import JobKind, Shape, State, Tone
from core.events import InTransactionHandler
from core.registry import Audience, Console, Destination, PeriodicTask, RecordFinder, RestRouter, Subject, TrailAction
from tenants.models import Grants
from tenants.notices import AccessLost, SignInsEnded

from . import acts, search
from .domain_events import EVENTS
from .reports import ACTOR_SUMMARY, SESSIONS
from .reverting.rows import ROW_REVERTERS
from .services import end_after

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
    subjects=(
        Subject(
            table="platform_impersonation_sessions",
            noun="support session",
            title="Support sessions",
            position=180,
            job_subject="support_session",
            job_url_name="support-access-session",
        ),
        Subject(table="requests", noun="page"),
        Subject(table="support_policies", noun="support policy", changes_access=True),
        Subject(table="support_requests", noun="request for support access"),
        Subject(table="support_opt_outs", noun="refusal of support", changes_access=True),
    ),
    states=(State(name="ended", shape=Shape.COMPLETED, tone=Tone.GREY, word="Ended"),),
    trail_actions=(
        TrailAction(code="READ", words="Read in a support session", state="info", position=260),
        TrailAction(
            code="REFUSED", words="Refused in a support session", state="failed", position=270, is_refusal=True
        ),
        TrailAction(code="IMPERSONATION_START", words="Support session started", position=280),
        TrailAction(code="IMPERSONATION_END", words="Support session ended", position=290),
        TrailAction(code="IMPERSONATION_EXTENDED", words="Support session extended", position=300),
        TrailAction(code="IMPERSONATION_MODE", words="Support session changed mode", position=310),
        TrailAction(code="IMPERSONATION_REQUESTED", words="Support requested approval", position=320),
        TrailAction(code="IMPERSONATION_APPROVED", words="Support was approved", position=330, changes_access=True),
        TrailAction(
            code="IMPERSONATION_DECLINED",
            words="Support was declined",
            state="failed",
            position=340,
            is_refusal=True,
        ),
        TrailAction(
            code="IMPERSONATION_BLOCKED", words="Support was blocked", state="failed", position=350, is_refusal=True
        ),
        TrailAction(code="IMPERSONATION_BREAK_GLASS", words="Emergency access", position=360, changes_access=True),
        TrailAction(
            code="IMPERSONATION_ALERT",
            words="Support was blocked repeatedly",
            state="failed",
            position=365,
            is_refusal=True,
        ),
        TrailAction(code="IMPERSONATION_REVERT", words="Support session reverted", position=370),
        TrailAction(code="TENANT_EMERGENCY", words="Emergency act for a tenant", position=380, changes_access=True),
    ),
    act_words=acts.WORDS,
    act_tellers=(acts.TELLER,),
    reports=(SESSIONS, ACTOR_SUMMARY),
    job_kinds=(
        JobKind(
            name="impersonation.revert",
            handler="impersonation.reverting.handlers.Revert",
            past=(("Revert ", "Reverted "),),
        ),
    ),
    row_reverters=ROW_REVERTERS,
    bookkeeping_tables=("requests", "platform_impersonation_sessions", "support_requests"),
    in_transaction_handlers=(
        InTransactionHandler(name="support-sessions.access-lost", of=AccessLost, handle=end_after),
        InTransactionHandler(name="support-sessions.sign-ins-ended", of=SignInsEnded, handle=end_after),
    ),
    events=EVENTS,
    urls=("impersonation.urls",),
)
