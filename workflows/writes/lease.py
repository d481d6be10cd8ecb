"""An n8n that was killed while publishing reports a version as running that does not run yet.

It publishes in the background and holds the workflow meanwhile by a lease of two minutes. Killed and started again, it
takes the publication up when that is over, which it looks for every 15 s: until then it names the version asked for,
answers at its address, and runs the one before (98 to 119 s were measured on 2.41.1). Its public API does not show
this, so a proof has to wait.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from core import clock
from workflows.n8n import outages

if TYPE_CHECKING:
    from operations.engine import Run
    from workflows.n8n.client import N8nClient

NOTED = "n8n:away"
PAUSE_SECONDS = 1.0
pause = time.sleep


def note_outage(run: Run, base_url: str) -> None:
    """Record that n8n was unreachable while this job wrote, for the worker that resumes it."""
    away = _met(run, base_url)
    if away is not None and not run.lost.is_set():
        run.step(NOTED, "Note that n8n was away", lambda: {"at": away.isoformat()})


def wait_for_lease(run: Run, client: N8nClient) -> None:
    """Where n8n was unreachable since this job began, wait until the version that it reports is the one that runs."""
    until = _lease_ends(run, client)
    while until is not None and (left := (until - clock.now()).total_seconds()) > 0:
        run.check()
        whole = round(settings.N8N_PUBLISHING_LEASE_SECONDS)
        run.progress(whole - round(left), whole, "n8n was away: until its lease ends it may run former versions")
        pause(min(PAUSE_SECONDS, left))


def _lease_ends(run: Run, client: N8nClient) -> datetime | None:
    noted = run.done_steps().get(NOTED)
    before = datetime.fromisoformat((noted.result or {})["at"]) if noted is not None else None
    known = [moment for moment in (before, _met(run, client.base_url)) if moment is not None]
    if not known or not client.spec().can("stage"):
        return None
    return max(known) + timedelta(seconds=settings.N8N_PUBLISHING_LEASE_SECONDS)


def _met(run: Run, base_url: str) -> datetime | None:
    away = outages.last(base_url)
    return away if away is not None and away >= (run.operation.started_at or run.operation.created_at) else None
