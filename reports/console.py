"""What reports declare."""

from core.declarations import JobKind
from core.registry import Audience, Console, Destination, PeriodicTask, RecordFinder, RestRouter, Subject, TrailAction
from tenants.models import Grants

from . import search
from .demo import DEMO_CHAPTER

console = Console(
    destinations=(
        Destination(
            url_name="reports",
            title="Reports",
            search_words="compliance",
            icon="document-chart-bar",
            grant=Grants.VIEW_TRAIL,
            rail_position=90,
            shortcut="r",
        ),
        Destination(
            url_name="platform-reports",
            title="Platform reports",
            rail_title="Reports",
            search_words="compliance",
            icon="document-chart-bar",
            audience=Audience.TRAIL_READERS,
            rail_position=50,
            shortcut="b",
        ),
    ),
    record_finders=(RecordFinder(label="Reports", position=70, find=search.reports, by_id=search.run_by_id),),
    periodic_tasks=(
        PeriodicTask(name="report-files", task="reports.tasks.tidy", every_seconds=3600.0, expires_seconds=600.0),
    ),
    rest_routers=(RestRouter(path="reports.rest.router", tag="reports"),),
    subjects=(
        Subject(
            table="report_runs",
            noun="report",
            title="Reports",
            position=190,
            url_name="report-run",
            job_subject="report",
        ),
        Subject(
            table="report_schedules",
            noun="scheduled report",
            title="Scheduled reports",
            position=200,
            url_name="reports",
            url_takes_id=False,
            changes_access=True,
        ),
    ),
    trail_actions=(
        TrailAction(code="REPORT_EXPORTED", words="Report made", position=180),
        TrailAction(code="REPORT_DOWNLOADED", words="Report downloaded", position=190),
        TrailAction(code="REPORT_MAILED", words="Report sent", position=200),
        TrailAction(code="REPORT_NOT_MAILED", words="Report not sent", position=210),
    ),
    job_kinds=(JobKind(name="reports.make", handler="reports.handlers.MakeReport", past=(("Make ", "Made "),)),),
    demo_chapters=(DEMO_CHAPTER,),
    urls=("reports.urls",),
)
