"""Who is doing what, on whose behalf and through which door: carried from request to task to trail."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class ActionContext:
    """The two people and the door of whatever happens now.

    ``actor_id`` is the real person, ``acting_as_id`` the person whose place they take (or None);
    ``source`` is one of web, api, task, shell, system. It is empty where nobody has said who is acting: the database
    then refuses writes that belong into the trail. (A person at ``psql`` is recorded as sql by the database itself.)
    """

    actor_id: uuid.UUID | None = None
    acting_as_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None
    request_id: str = ""
    operation_id: uuid.UUID | None = None
    source: str = ""
    ip_address: str = ""
    user_agent: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-able form that travels with an operation."""
        fields = {
            "actor_id": self.actor_id,
            "acting_as_id": self.acting_as_id,
            "session_id": self.session_id,
            "request_id": self.request_id,
            "operation_id": self.operation_id,
            "source": self.source,
            "ip_address": self.ip_address,
        }
        return {name: str(value) for name, value in fields.items() if value}

    @classmethod
    def from_dict(cls, data: dict[str, str]) -> ActionContext:
        """The context that ``to_dict`` wrote; unknown names are ignored."""
        ids = {
            name: uuid.UUID(data[name])
            for name in ("actor_id", "acting_as_id", "session_id", "operation_id")
            if data.get(name)
        }
        texts = {name: data[name] for name in ("request_id", "source", "ip_address") if data.get(name)}
        return cls(**ids, **texts)  # type: ignore[arg-type]


_NOBODY = ActionContext()  # frozen, so sharing it is safe
_current: ContextVar[ActionContext] = ContextVar("opsconsole_action_context", default=_NOBODY)


def current() -> ActionContext:
    """The context in force."""
    return _current.get()


def set_current(context: ActionContext) -> Any:
    """Put ``context`` in force; returns the token for ``reset``."""
    return _current.set(context)


def reset(token: Any) -> None:
    _current.reset(token)


@contextlib.contextmanager
def acting(**changes: Any) -> Iterator[ActionContext]:
    """The context in force with ``changes``, for the length of a block."""
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
