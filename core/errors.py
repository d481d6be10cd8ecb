"""The failures a person can meet: each has a code, a plain sentence and a way out."""

from __future__ import annotations

from typing import Any, ClassVar


class OpsError(Exception):
    """A failure with a code and a way out, told alike in the console and the API.

    Subclasses set the class attributes; ``message`` given to the constructor replaces
    the default sentence. ``details`` is JSON-able and reaches the person as well; so is ``beside``, which a program
    finds next to the error, under the names that the call has where it ends well.
    """

    code: ClassVar[str] = "OPS_000"
    title: ClassVar[str] = "Something went wrong"
    message: str = "The request could not be carried out."
    recovery: str = "Try again; if it happens again, look at the job's steps."
    status: ClassVar[int] = 400
    #: The way out is a header more: the same Idempotency-Key may be tried again with it.
    asks_for_a_header: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        details: dict[str, Any] | None = None,
        recovery: str | None = None,
        beside: dict[str, Any] | None = None,
    ) -> None:
        if message is not None:
            self.message = message
        if recovery is not None:
            self.recovery = recovery
        self.details = details or {}
        self.beside = beside or {}
        super().__init__(self.message)

    def to_dict(self) -> dict[str, Any]:
        """The body of the API's ``error`` object."""
        return {"code": self.code, "message": self.message, "details": self.details, "recovery": self.recovery}


class NotFound(OpsError):
    code = "NOT_FOUND"
    title = "Not found"
    message = "There is nothing here, or it is not yours to see."
    recovery = "Check the address, or go back to the list."
    status = 404


class Forbidden(OpsError):
    code = "FORBIDDEN"
    title = "Not allowed"
    message = "Your role does not allow this."
    recovery = "Ask an owner of the tenant for the permission."
    status = 403


class MethodNotAllowed(OpsError):
    """A form's address was opened like a page, as after signing in anew; or a program asked in the wrong way."""

    code = "METHOD_NOT_ALLOWED"
    title = "There is nothing to look at here"
    message = "This address cannot be asked in this way."
    recovery = "If you pressed a button and had to sign in first, nothing was done: go to its page and press it again."
    status = 405


class Invalid(OpsError):
    code = "INVALID"
    title = "That input cannot be used"
    message = "Some of the values given cannot be used."
    recovery = "Correct the named fields and send it again."
    status = 422


class NotConfirmed(Invalid):
    """A person was to type a name and typed another. Each app has its own code for it."""

    title = "Not confirmed"
    message = "The name was not typed as it is shown."
    recovery = "Type the name as it is shown and send the form again."


class Conflict(OpsError):
    code = "CONFLICT"
    title = "Somebody was faster"
    message = "The object has changed since you looked at it."
    recovery = "Reload, look at the change, and decide again."
    status = 409


class IdempotencyMismatch(Conflict):
    code = "IDEMPOTENCY_MISMATCH"
    title = "The same key with another body"
    message = "This idempotency key was already used for a different request."
    recovery = "Send the first request again as it was, or use a new key."


class Unavailable(OpsError):
    """The database could not be reached, has no connection left, or gave up on a lock."""

    code = "UNAVAILABLE"
    title = "Not available just now"
    message = "The console's database cannot be reached, or is too busy to answer."
    recovery = "Try again in a few seconds; what was running goes on by itself. If it lasts, look at the health page."
    status = 503


class Fault(OpsError):
    """Anything nobody foresaw."""

    code = "FAULT"
    title = "The console met a fault"
    message = "The request was not carried out. What went wrong has been written to the log."
    recovery = "Try again. If it happens again, look at the health page and tell the person who runs this console."
    status = 500


class IsolationViolated(OpsError):
    """Row security stopped a statement: a fault of ours that reached nobody's rows."""

    code = "DB_001"
    title = "Stopped by the border between tenants"
    message = "The database refused a row that does not belong to this tenant. Nothing was written."
    recovery = "Run 'manage.py scan_isolation', which names what is wrong, and tell the person who runs this console."
    status = 500


class ReferenceBroken(Conflict):
    code = "DB_002"
    title = "What it refers to is not there"
    message = "Something that this needs was removed meanwhile, or something else still needs what should go."
    recovery = (
        "Reload and look at what is there. Where it stays, 'manage.py scan_isolation' lists rows without parents."
    )


class AlreadyThere(Conflict):
    code = "DB_003"
    title = "It is there already"
    message = "There is already one with the same name or key."
    recovery = "Look for the one that is there and use it, or choose another name."


class PoolExhausted(Unavailable):
    code = "DB_004"
    title = "Too busy just now"
    message = "All of the console's connections to its database are in use."
    recovery = (
        "Try again in a few seconds. If it lasts, raise OPSCONSOLE_DB_POOL and PostgreSQL's max_connections, or restart"
        " the web processes; the health page shows who waits."
    )
