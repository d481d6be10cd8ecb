"""The only door to rows of a tenant: a transaction that PostgreSQL knows the tenant of.

``tenant_scope`` opens (or joins) a transaction, takes the tenant role and names the tenant; row-level security does
the rest. Outside any scope a query on a tenant's table finds no rows. ``platform_scope`` is the other role, for work
across tenants (reaper, estate, sign-in); it is a role of its own, never a setting that switches the policies off.

A support session in force (``core.support``) narrows both: one that only reads gets the roles that can only
SELECT; one that may write is held by each transaction until its end, in the same statement that opens the scope.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import connection, transaction

from core import connections, context, support


@dataclass(frozen=True, slots=True)
class Scope:
    """The database role in force and the tenant it sees (None: all, for the platform)."""

    role: str
    tenant_id: uuid.UUID | None


TENANT_ROLE = "opsconsole_tenant"
PLATFORM_ROLE = "opsconsole_platform"
READ_ONLY_ROLE = "opsconsole_readonly"
PLATFORM_READ_ONLY_ROLE = "opsconsole_platform_readonly"

_scope: ContextVar[Scope | None] = ContextVar("opsconsole_scope", default=None)


def current_scope() -> Scope | None:
    """The scope in force, or None."""
    return _scope.get()


class ScopeError(RuntimeError):
    """A scope was opened inside another tenant's, or slow work was started inside a transaction."""


@contextlib.contextmanager
def tenant_scope(tenant_id: uuid.UUID | str, *, read_only: bool = False) -> Iterator[Scope]:
    """See and write the rows of one tenant, in a transaction.

    Joining the same tenant's scope is free; another tenant's inside it is refused. A scope inside a read-only one
    stays read-only.
    """
    wanted = tenant_id if isinstance(tenant_id, uuid.UUID) else uuid.UUID(str(tenant_id))
    outer = _scope.get()
    if outer is not None and outer.tenant_id not in (None, wanted):
        raise ScopeError("A tenant's scope cannot be opened inside another tenant's.")
    session = support.current()
    if session is not None and session.tenant_id != wanted:
        raise ScopeError("A support session sees the rows of its own tenant only.")
    read_only = read_only or _reads_only(session) or (outer is not None and outer.role in _READING)
    role = READ_ONLY_ROLE if read_only else TENANT_ROLE
    with _scoped(Scope(role, wanted)) as scope:
        yield scope


@contextlib.contextmanager
def platform_scope(*, read_only: bool = False) -> Iterator[Scope]:
    """See the rows of every tenant, in a transaction. For the platform's own work and pages.

    A scope inside a read-only one stays read-only.
    """
    outer = _scope.get()
    if outer is not None and outer.tenant_id is not None:
        raise ScopeError("The platform's scope cannot be opened inside a tenant's.")
    read_only = read_only or _reads_only(support.current()) or (outer is not None and outer.role in _READING)
    with _scoped(Scope(PLATFORM_READ_ONLY_ROLE if read_only else PLATFORM_ROLE, None)) as scope:
        yield scope


def tenant_or_platform_scope(
    tenant_id: uuid.UUID | str | None, *, read_only: bool = False
) -> contextlib.AbstractContextManager[Scope]:
    """The scope of what belongs to a tenant or, without one, to the platform.

    The platform's role sees every tenant's rows as well: who looks for a row by its id also says whose it is.
    """
    if tenant_id is None:
        return platform_scope(read_only=read_only)
    return tenant_scope(tenant_id, read_only=read_only)


_READING = frozenset({READ_ONLY_ROLE, PLATFORM_READ_ONLY_ROLE})


def _reads_only(session: support.InForce | None) -> bool:
    return session is not None and session.mode != support.WRITE


@contextlib.contextmanager
def _scoped(scope: Scope) -> Iterator[Scope]:
    outer = _scope.get()
    if outer == scope:
        # A savepoint of its own, so that a failure inside leaves the outer transaction usable.
        with transaction.atomic():
            yield scope
        return
    with transaction.atomic():
        _announce(scope)
        token = _scope.set(scope)
        try:
            yield scope
        finally:
            _scope.reset(token)
            # Inside an outer transaction the settings would outlive the block.
            if len(connection.savepoint_ids) > 0 and not connection.needs_rollback:
                with contextlib.suppress(Exception):
                    _announce(outer)


#: Made by the sessions' app: says whether the session lives, and keeps it from ending before the transaction has.
_HOLD = ", opsconsole_hold_support_session(%s::uuid)"


def _announce(scope: Scope | None) -> None:
    acting = context.current()
    session = support.current() if scope else None
    held = str(session.session_id) if session is not None and session.mode == support.WRITE else None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('role', %s, true), set_config('opsconsole.tenant_id', %s, true),"
            " set_config('opsconsole.actor_id', %s, true), set_config('opsconsole.acting_as_id', %s, true),"
            " set_config('opsconsole.session_id', %s, true), set_config('opsconsole.request_id', %s, true),"
            " set_config('opsconsole.operation_id', %s, true), set_config('opsconsole.source', %s, true),"
            " set_config('opsconsole.ip_address', %s, true)" + (_HOLD if held else ""),
            [
                scope.role if scope else "none",
                str(scope.tenant_id) if scope and scope.tenant_id else "",
                str(acting.actor_id or ""),
                str(acting.acting_as_id or ""),
                str(acting.session_id or ""),
                acting.request_id,
                str(acting.operation_id or ""),
                acting.source,
                acting.ip_address,
                *([held] if held else []),
            ],
        )
        if held and not cursor.fetchone()[-1]:
            raise support.SupportEnded


def refuse_fallen_session() -> None:
    """Raise ``SupportEnded`` where the session in force stands no more: for whatever waits or streams. One query."""
    session = support.current()
    if session is None:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_support_session_stands(%s)", [session.session_id])
        if not cursor.fetchone()[0]:
            raise support.SupportEnded


def assert_no_scope(what: str) -> None:
    """Refuse slow work (network, Git, subprocesses) while a transaction is held open, and hold no connection either."""
    if _scope.get() is not None:
        raise ScopeError(f"{what} must not run inside a database transaction.")
    connections.release()
