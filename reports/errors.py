"""Failures of reports that a person can meet."""

from __future__ import annotations

from core.errors import Conflict, Forbidden, NotFound, OpsError


class NoSuchReport(NotFound):
    code = "REPORT_UNKNOWN"
    title = "No such report"
    message = "There is no report of this name."
    recovery = "Choose one from the list of reports."


class NotReady(Conflict):
    code = "REPORT_NOT_READY"
    title = "The report is not ready"
    message = "This report has no file yet."
    recovery = "Wait until it is ready, or see why it failed."


class NotMade(OpsError):
    code = "REPORT_FAILED"
    title = "The report was not made"
    message = "The report could not be made."
    recovery = "Make it again, if need be for a shorter period."
    status = 500


class FileGone(OpsError):
    code = "REPORT_FILE_GONE"
    title = "The file was removed"
    message = "The file has been removed after its retention period. Its manifest is kept."
    recovery = "Make the report again with the same parameters."
    status = 410


class PlatformOnly(Forbidden):
    message = "Only platform admins and compliance officers make reports about the platform."
    recovery = "A tenant's own reports are on its Reports page."


class TooSlow(OpsError):
    code = "REPORT_PREVIEW_SLOW"
    title = "Too much for a preview"
    message = "The first rows of this report take too long for a page."
    recovery = "Make the report: it is written to a file in the background. Or choose a shorter period."
    status = 503


class RunGone(OpsError):
    code = "REPORT_GONE"
    title = "The report is gone"
    message = "The report or its schedule has been removed."
    recovery = "Make the report again if you still need it."
    status = 404


class NotMailed(OpsError):
    code = "REPORT_NOT_MAILED"
    title = "The mail was not sent"
    message = "The report was made, but its mail was not sent."
    recovery = "The report's page says why; send it again there."
    status = 502
