"""Failures of long work."""

from __future__ import annotations

from core.errors import Conflict, OpsError


class Busy(Conflict):
    code = "OPERATION_BUSY"
    title = "Something else is under way"
    message = "Another job holds what this one needs."
    recovery = "Wait for it to finish, or cancel it on its page."


class TooManyJobs(OpsError):
    code = "OPERATION_TOO_MANY"
    title = "Too many jobs wait"
    message = "So many jobs of this tenant wait already that no more is taken in."
    recovery = "Wait until some have ended, or cancel what is not wanted on the page of jobs."
    status = 429


class NotCancellable(Conflict):
    code = "OPERATION_ENDED"
    title = "That job has ended"
    message = "The job has already ended, so there is nothing to cancel or retry."
    recovery = "Look at its result."


class UnknownOutcome(OpsError):
    """An effect was begun and nobody can tell whether it took place: a person must look."""

    code = "OPERATION_UNKNOWN"
    title = "Nobody knows whether this happened"
    message = "A step was begun, and what is there now is neither the old nor the new state."
    recovery = "Look at the step and the environment, then retry or give up the job."
    status = 409


class Unfinished(OpsError):
    code = "OPERATION_UNFINISHED"
    title = "Not finished yet"
    message = "The job did not come to its end."
    recovery = "It is tried again by itself after a pause; when it is parked instead, look at its steps and retry it."
    status = 503


class TooManyStreams(OpsError):
    code = "TOO_MANY_STREAMS"
    title = "Too many live pages"
    message = "So many pages already follow what happens that this one cannot."
    recovery = "Close some of them, or ask for the job itself from time to time."
    status = 429


class JobFailed(OpsError):
    """What a call that waited tells of a job that names no failure of its own, as one that was ended by hand."""

    code = "OPERATION_FAILED"
    title = "The job failed"
    message = "The job ended without doing what was asked."
    recovery = "Look at its steps, remove the cause, and ask again."
    status = 502


class JobCancelled(Conflict):
    code = "OPERATION_CANCELLED"
    title = "The job was cancelled"
    message = "The job was stopped before it had done what was asked."
    recovery = "Look at its steps, and ask again when it is wanted."


class JobParked(Conflict):
    code = "OPERATION_PARKED"
    title = "The job waits for a person"
    message = "The job has not done what was asked, and goes on only when a person retries it."
    recovery = "Look at its steps, remove the cause, and retry it or give it up."


class TryAgain(Exception):
    """What stands in the way may pass by itself: the operation is taken up again after a pause, or parked after its
    last attempt. People read its text. Not an ``OpsError``, which would end the operation.

    ``after_seconds`` is for what takes longer to pass than the engine's own pauses.
    """

    def __init__(self, message: str = "", *, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Interrupted(Exception):
    """The run must stop now and write nothing more. Not a failure of the work itself."""


class LeaseLost(Interrupted):
    """Another worker has taken over, or the row was ended by hand."""


class Cancelled(Interrupted):
    """A person asked to cancel. The handler may put things back before it lets this through."""
