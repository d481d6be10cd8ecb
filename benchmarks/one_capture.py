"""One capture in a process of its own; prints the peak of its memory and of its largest child as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import uuid
from pathlib import Path
from typing import Self


class Children:
    """The most that a child process has held, in kB, looked at often while the block lasts.

    Not ``RUSAGE_CHILDREN``: for a program started by vfork that counts the memory of its parent.
    """

    def __init__(self) -> None:
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            for listed in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    for child in listed.read_text().split():
                        status = Path(f"/proc/{child}/status").read_text()
                        held = re.search(r"^Name:\s+git.*?^VmHWM:\s+(\d+)", status, re.DOTALL | re.MULTILINE)
                        self.most = max(self.most, int(held[1]) if held else 0)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    import django

    django.setup()
    import opsconsole.celery  # noqa: F401 -- a worker has it
    from core import context, gc_tuning
    from operations import engine, tasks
    from snapshots.models import Snapshot
    from snapshots.services import start_capture
    from tenants.scope import tenant_scope

    from .setup import own_git_root

    context.set_current(context.ActionContext(source="system"))

    tasks.drive.apply_async = lambda *args, **kwargs: None  # type: ignore[method-assign]
    gc_tuning.settle()
    tenant_id, environment_id = (uuid.UUID(word) for word in sys.argv[1:3])
    with own_git_root(), Children() as children:
        operation = start_capture(tenant_id=tenant_id, environment_id=environment_id, requested_by=None)
        status = engine.drive(operation_id=operation.pk, tenant_id=tenant_id)
    with tenant_scope(tenant_id):
        size = Snapshot.objects.values_list("total_bytes", flat=True).get(environment_id=environment_id)
    # Not ``getrusage``: it counts what the process held before it became this program.
    peak = int(re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)[1]) / 1024  # type: ignore[index]
    print(json.dumps({"status": status, "self_mb": peak, "child_mb": children.most / 1024, "bytes": size}))


if __name__ == "__main__":
    main()
