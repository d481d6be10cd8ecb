"""What PostgreSQL refused, as the failure that a person is told."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from .errors import AlreadyThere, IsolationViolated, OpsError, PoolExhausted, ReferenceBroken, Unavailable

_BY_STATE: dict[str, type[OpsError]] = {
    "42501": IsolationViolated,
    "23503": ReferenceBroken,
    "23505": AlreadyThere,
    "53300": PoolExhausted,
}


def named(error: BaseException | None) -> OpsError | None:
    """The failure for a database error that nobody has answered; None for what has no name of its own."""
    cause = error.__cause__ if isinstance(error, DatabaseError | InterfaceError) else error
    if isinstance(cause, PoolTimeout) or isinstance(error, PoolTimeout):
        return PoolExhausted()
    kind = _BY_STATE.get(getattr(cause, "sqlstate", None) or "")
    if kind is IsolationViolated and "row-level security" not in str(cause):
        return None
    if kind is not None:
        return kind(details={"constraint": constraint} if (constraint := _constraint(cause)) else {})
    return Unavailable() if isinstance(error, OperationalError | InterfaceError) else None


def _constraint(cause: BaseException | None) -> str:
    return getattr(getattr(cause, "diag", None), "constraint_name", None) or ""
