"""What can go wrong around executions."""

from __future__ import annotations

from core.errors import Invalid, OpsError


class RetryUnsupported(OpsError):
    code = "EXEC_001"
    title = "This n8n cannot retry executions"
    message = "The public API of this n8n has no call that retries an execution."
    recovery = "Open the execution in n8n and retry it there, or upgrade n8n."
    status = 409


class NothingToRetry(Invalid):
    code = "EXEC_002"
    title = "Nothing to retry"
    message = "None of these executions failed and waits for a retry."
    recovery = "Look at the list: they may have been retried already."


class TooManyToRetry(Invalid):
    code = "EXEC_003"
    title = "Too many at once"
    message = "More executions would be retried than one job takes."
    recovery = "Choose a later moment or one workflow, and retry the rest afterwards."


class RetryUnfinished(OpsError):
    code = "EXEC_004"
    title = "Not every execution was retried"
    message = "n8n refused to retry some of the executions."
    recovery = "Each is listed in the job's result with n8n's own words."
    status = 502


class OddExecutions(OpsError):
    code = "EXEC_005"
    title = "The executions could not be read whole"
    message = "n8n answered in a way that the console does not know."
    recovery = "It is tried again by itself, less and less often. Look at n8n's log, and at the console's."
    status = 502
