"""Starts real Celery workers quickly: everything is imported once, each worker is a fork of that.

Run as ``python -m tests.kill.forge``; speaks JSON lines. ``{"queue", "kill_at", "ready", "trace"}`` starts a worker
that takes messages from ``queue`` alone, makes the file ``ready`` once it does, appends every boundary it reaches to
the file ``trace``, and ends itself by SIGKILL when it first reaches the boundary ``kill_at``; the answer is its pid.
``{"poll": pid}`` answers its exit code (negative: a signal), or null while it runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import django

django.setup()

from celery import current_task  # noqa: E402
from celery.bin import worker as _worker  # noqa: E402, F401
from celery.concurrency import thread as _pool  # noqa: E402, F401
from celery.signals import worker_ready  # noqa: E402
from django.db import connections  # noqa: E402

import workflows.n8n.client  # noqa: E402, F401 -- what the first call would import
from operations import admission, engine  # noqa: E402
from operations.handlers import boundary_observers  # noqa: E402
from operations.run import Run  # noqa: E402
from opsconsole.celery import app  # noqa: E402
from workflows.writes import performing  # noqa: E402

app.loader.import_default_modules()
#: Small, so that twenty writes are several chunks, each begun while the one before is under way.
performing.CHUNK = 5


def take_what_the_message_names() -> Run | None:
    """Whose turn it is does not matter here: this worker is to die of its own job, and not of another play's."""
    operation_id, tenant_id = current_task.request.args
    return engine.claim(operation_id=operation_id, tenant_id=tenant_id)


def become_worker(order: dict[str, Any]) -> None:
    """Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)

    def observe(name: str) -> None:
        if order.get("trace"):
            with Path(order["trace"]).open("a") as trace:
                trace.write(name + "\n")
        if name == order.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    boundary_observers.append(observe)
    admission.take = take_what_the_message_names
    worker_ready.connect(lambda **_: Path(order["ready"]).touch(), weak=False)
    words = ["worker", "-P", "threads", "-c", "1", "-Q", order["queue"], "-n", f"{order['queue']}@%h", "-l", "WARNING"]
    app.worker_main([*words, "--without-mingle", "--without-gossip", "--without-heartbeat"])


def main() -> None:
    codes: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            pid = int(order["poll"])
            if pid not in codes:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            answer = codes.get(pid)
        else:
            connections.close_all()
            answer = os.fork()
            if answer == 0:
                try:
                    become_worker(order)
                finally:
                    os._exit(70)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
