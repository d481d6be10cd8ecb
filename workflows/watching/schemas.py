"""Watched starters as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime

from core.answers import Answer


class WatchedStarter(Answer):
    """A node that starts a published workflow by itself and is not proven to.

    ``due_at`` is by when it should have run by its own rule, ``deadline`` when it is watched no more; ``execution_id``
    is n8n's number of the execution that proved it. ``told`` is what became of the mail about it.
    """

    id: uuid.UUID
    environment_id: uuid.UUID
    operation_id: uuid.UUID
    workflow_key: str
    workflow_name: str
    workflow_id: str
    version_id: str | None
    node: str
    kind: str
    address: str | None
    why: str
    state: str
    note: str | None
    since: datetime
    due_at: datetime | None
    deadline: datetime
    settled_at: datetime | None
    execution_id: str | None
    execution_status: str | None
    told: str | None
    told_note: str | None


class WatchedAnswer(Answer):
    watched: list[WatchedStarter]
