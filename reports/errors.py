"""What a person who asks for a report can meet."""

from __future__ import annotations

from core.errors import Conflict, Forbidden, NotFound, OpsError


class NoSuchReport(NotFound):
    code = "REPORT_UNKNOWN"
    title = "No such report"
    message = "There is no report of this name."
    recovery = "The list of reports names them all."


class NotReady(Conflict):
    code = "REPORT_NOT_READY"
    title = "The report is not ready"
    message = "This report has no file yet."
    recovery = "Wait until it is ready, or see why it failed."


class NotMade(OpsError):
    code = "REPORT_FAILED"
    title = "The report was not made"
    message = "The report could not be made."
    recovery = "Make it again; for a shorter period where it was too much."
    status = 500


class FileGone(OpsError):
    code = "REPORT_FILE_GONE"
    title = "The file was removed"
    message = "Files are kept for a while only; this one is gone. Its manifest is still here."
    recovery = "Make the report again with the same parameters."
    status = 410


class PlatformOnly(Forbidden):
    message = "Only platform admins and compliance officers make reports about the whole platform."
    recovery = "A tenant's own reports are on its Reports page."


class TooSlow(OpsError):
    code = "REPORT_PREVIEW_SLOW"
    title = "Too much for a preview"
    message = "The first rows of this report take longer than a page may take."
    recovery = "Make the report: it is written to a file in the background. Or choose a shorter period."
    status = 503


class RunGone(OpsError):
    code = "REPORT_GONE"
    title = "The report is gone"
    message = "What was to be made, or the schedule that asks for it, was removed meanwhile."
    recovery = "Ask for the report again, if it is still wanted."
    status = 404


class NotMailed(OpsError):
    code = "REPORT_NOT_MAILED"
    title = "The mail was not sent"
    message = "The report is made, and its mail was not sent."
    recovery = "See on the report's page why, and send it again there."
    status = 502
