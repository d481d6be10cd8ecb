"""The support session in force: what the layers below the sessions need to know of it.

A session is put in force for one request or one job. While a reading one is, every scope takes a role that can only
read, and what would leave the console (n8n, Git, a job) is refused. While a writing one is, every transaction holds the
session (``tenants.scope``), so that none can commit after the session has ended.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass

from .errors import OpsError

READ_ONLY = "READ_ONLY"
WRITE = "WRITE"


@dataclass(frozen=True, slots=True)
class InForce:
    """The session under which whatever happens now happens."""

    session_id: uuid.UUID
    tenant_id: uuid.UUID
    mode: str = READ_ONLY


class SupportReadOnly(OpsError):
    code = "IMP_005"
    title = "This support session only reads"
    message = "A support session that only reads changes nothing and asks nothing of n8n."
    recovery = "Ask for write mode from the session's page, or end the session."
    status = 403


class SupportEnded(OpsError):
    code = "IMP_007"
    title = "The support session has ended"
    message = "The support session has ended; nothing more is done in its name."
    recovery = "Start a new session if there is more to do."
    status = 403


_current: ContextVar[InForce | None] = ContextVar("opsconsole_support_session", default=None)


def current() -> InForce | None:
    """The session in force, or None."""
    return _current.get()


def set_current(session: InForce | None) -> Token[InForce | None]:
    """Put a session in force; returns the token for ``reset``."""
    return _current.set(session)


def reset(token: Token[InForce | None]) -> None:
    _current.reset(token)


@contextlib.contextmanager
def in_force(session: InForce | None) -> Iterator[None]:
    """A session in force (None: none) for the length of a block."""
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)


def suspended() -> contextlib.AbstractContextManager[None]:
    """No session in force inside the block: for the console's own bookkeeping about a request or a job."""
    return in_force(None)


def refuse_reading_only(what: str) -> None:
    """Raise ``SupportReadOnly`` where the session in force only reads."""
    session = _current.get()
    if session is not None and session.mode != WRITE:
        raise SupportReadOnly(f"{what} is not done in a support session that only reads.")
