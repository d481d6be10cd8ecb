"""What the benchmarks share: Django with a migrated database of its own, a tenant, tables of results.

Needs the services' environment: run through ``script/bench``.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def start_django() -> None:
    """Settings, migrations, and no messages to workers: benchmarks drive operations in their own process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    os.environ.setdefault("OPSCONSOLE_LOG_LEVEL", "CRITICAL")
    os.environ["OPSCONSOLE_LEASE_SECONDS"] = "120"
    migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
    subprocess.run(migrate, check=True, cwd=ROOT, env={**os.environ, "OPSCONSOLE_AS_OWNER": "1"})
    import django

    django.setup()
    from core import context

    context.set_current(context.ActionContext(source="system"))
    from core import gc_tuning
    from operations import tasks

    tasks.drive.apply_async = lambda *args, **kwargs: None  # type: ignore[method-assign]
    gc_tuning.settle()  # as a worker does, for both sides of a pair


def own_git_root() -> tempfile.TemporaryDirectory[str]:
    """Let the stores of this run live in a folder that goes away with it."""
    from django.conf import settings

    folder = tempfile.TemporaryDirectory(prefix="bench-git-", ignore_cleanup_errors=True)
    settings.GIT_ROOT = Path(folder.name)
    return folder


def fresh_tenant() -> tuple[Any, Any]:
    """A tenant of this run and its owner."""
    from tenants import services

    mark = f"{time.time_ns():x}"
    owner = services.create_user(email=f"owner-{mark}@example.org", name="Owner", password="correct horse battery")
    return services.create_tenant(name=f"Bench {mark}", slug=f"bench-{mark}", owner=owner), owner


def environment_of(tenant: Any, *, base_url: str, api_key: str, name: str) -> Any:
    """An environment that leads to an instance."""
    from core import crypto
    from tenants.scope import tenant_scope
    from workflows.models import Environment

    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant=tenant, name=name, slug=name.lower(), kind="staging", base_url=base_url,
            api_key_encrypted=crypto.encrypt(api_key),
        )  # fmt: skip


def drive(operation: Any) -> None:
    """Carry an operation through in this process; anything but success ends the benchmark."""
    from operations import engine
    from operations.models import Operation
    from tenants.scope import tenant_scope

    status = engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    if status != "COMPLETED":
        with tenant_scope(operation.tenant_id):
            row = Operation.objects.get(pk=operation.pk)
        raise SystemExit(f"{row.title}: {row.status} {row.error_code} {row.error_message}")


class Spent(float):
    """Seconds by the clock; ``processor`` are those of this process and of its children that have ended."""

    processor: float = 0.0


def timed(act: Callable[[], Any]) -> Spent:
    """The time that ``act`` takes; what others left to be written to disk is not its business."""
    os.sync()
    began, worked = time.perf_counter(), _processor()
    act()
    spent = Spent(time.perf_counter() - began)
    spent.processor = _processor() - worked
    return spent


def _processor() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def alternating(pairs: int, ours: Callable[[], float], bare: Callable[[], float]) -> list[tuple[float, float]]:
    """Seconds of both, in turns, so that a machine that slows down slows both."""
    found = []
    for number in range(pairs):
        first_ours = number % 2 == 0
        one = ours() if first_ours else bare()
        other = bare() if first_ours else ours()
        found.append((one, other) if first_ours else (other, one))
    return found


def ratio_row(name: str, pairs: Sequence[tuple[float, float]], target: float | None) -> list[str]:
    """A row of a table: medians of both, the median of the ratios, processor time, whether it meets the target."""
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    ours, bare = (statistics.median(values) for values in zip(*pairs, strict=True))
    worked = " / ".join(
        f"{statistics.median(getattr(value, 'processor', 0.0) for value in values):.1f} s"
        for values in zip(*pairs, strict=True)
    )
    met = "" if target is None else ("met" if ratio <= target else "**missed**")
    wanted = "" if target is None else f"≤ {target:g}"
    each = ", ".join(f"{one / other:.2f}" for one, other in pairs)
    return [name, f"{ours:.2f} s", f"{bare:.2f} s", f"{ratio:.2f}", each, worked, wanted, met]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def save(name: str, *, command: str, title: str, body: str) -> None:
    """Write ``results/<name>.md`` and show it."""
    RESULTS.mkdir(exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    version = ".".join(map(str, sys.version_info[:3]))
    head = f"# {title}\n\n`{command}`, {datetime.now(UTC):%Y-%m-%d}, {cores} cores, Python {version}.\n\n"
    (RESULTS / f"{name}.md").write_text(head + body)
    print(head + body)
