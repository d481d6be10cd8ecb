"""The job that makes a report: its file, then its mail."""

from __future__ import annotations

from typing import Any, ClassVar

from core.components.values import size
from core.wording import counted
from operations.errors import TryAgain, UnknownOutcome
from operations.handlers import register
from operations.models import Operation
from operations.run import Run
from operations.summaries import JobLink, JobSummary

from . import mailing, making, scheduling
from .errors import RunGone
from .models import ReportRun, RunStatus


@register
class MakeReport:
    """Makes the file of a run once and, where it has recipients, sends it once."""

    kind: ClassVar[str] = making.KIND

    def summary(self, result: dict[str, Any]) -> JobSummary:
        made = result.get("report_run_id")
        sentence = f"{counted(result.get('rows', 0), 'row')} in {size(result.get('bytes', 0))}."
        return JobSummary(sentence, (JobLink("Open report", "report-run", str(made)),) if made else ())

    def run(self, run: Run) -> dict[str, Any]:
        record = _record_of(run)
        if record.status != RunStatus.COMPLETED or run.was_begun(making.FILE_STEP):
            run.effect(making.file_effect(run, record))
            record = _record_of(run)
        if record.mail_to:
            self._send(run, record)
        return {"report_run_id": str(record.pk), **making.facts_of(record)}

    def _send(self, run: Run, record: ReportRun) -> None:
        try:
            run.effect(mailing.mail_effect(run, record))
        except mailing.NotTaken as error:
            raise TryAgain(error.message, after_seconds=error.after_seconds) from error
        except UnknownOutcome:
            mailing.give_up_on_the_unknown(run, record)
            raise


def _record_of(run: Run) -> ReportRun:
    """The run that a job makes. A schedule's job records it first, by its own fence."""
    with run.fenced():
        rows = ReportRun.objects.select_related("tenant", "requested_by")
        found = rows.filter(operation_id=run.operation.pk).first()
        if found is None and "schedule_id" in run.params:
            found = scheduling.ask(run)
            if found is not None:
                Operation.objects.filter(pk=run.operation.pk).update(subject_type="report", subject_id=found.pk)
    if found is None:
        raise RunGone
    return found
