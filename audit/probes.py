"""Whether the trail is sealed, the head of its chain comes through to where it is anchored, and mail can leave."""

import socket
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from core import clock
from tenants.scope import platform_scope

from .anchors import failing
from .sealing import last_sealed

LATE = timedelta(minutes=10)
MOST_COUNTED = 10_000


def anchored() -> dict[str, Any]:
    event = failing()
    return {"status": "ok"} if event is None else {"status": "failed", "not_anchored_since": event.created_at}


def sealed() -> dict[str, Any]:
    """How many entries wait for a seal, and since when; failed where the oldest waits for longer than ten minutes."""
    with platform_scope(read_only=True), connection.cursor() as cursor:
        last = last_sealed()
        cursor.execute(
            "SELECT count(*), min(timestamp) FROM (SELECT timestamp FROM audit_logentry"
            " WHERE (epoch, transaction_id, id) > (%s, %s::xid8, %s) LIMIT %s) AS waiting",
            [last.epoch, str(last.xid), last.entry, MOST_COUNTED],
        )
        waiting, since = cursor.fetchone()
    is_late = since is not None and clock.now() - since > LATE
    message = f"{waiting} {'entry' if waiting == 1 else 'entries'} not sealed yet." if waiting else "All is sealed."
    if is_late:
        message += " The sealer does not run, or cannot: see its log."
    return {
        "status": "failed" if is_late else "ok",
        "message": message,
        "waiting_entries": waiting,
        "waiting_since": since,
    }


MAIL_ANSWERS_WITHIN_SECONDS = 1.0


def mail() -> dict[str, Any]:
    """Whether the mail server takes a connection and greets; where there is none, mail is kept as files."""
    if not settings.SENDS_MAIL:
        return {"status": "ok", "message": "No mail server is set: mail is kept as files."}
    where = (settings.EMAIL_HOST, settings.EMAIL_PORT)
    with socket.create_connection(where, timeout=MAIL_ANSWERS_WITHIN_SECONDS) as link:
        greets = settings.EMAIL_USE_SSL or link.recv(3) == b"220"
    return {"status": "ok" if greets else "failed", "message": "" if greets else "The mail server does not greet."}
