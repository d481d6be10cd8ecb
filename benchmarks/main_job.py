"""The main job against its bare limit: capture, drift check, promotion; and the memory of a large capture.

    script/bench main_job [--workflows 2000] [--promoted 2000] [--pairs 3] [--large 10000] [--only capture,check,promote,memory]

Both ways of each pair run against the same sandbox (a process of its own), in turns. See ``bare`` for the limits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from .bare import WRITTEN, Bare
from .setup import (
    ROOT,
    alternating,
    drive,
    environment_of,
    fresh_tenant,
    own_git_root,
    ratio_row,
    save,
    start_django,
    table,
    timed,
)

SIZE_BYTES = 12_000
CONCURRENCY = 4
HEAD = ["what", "OpsConsole", "bare", "ratio (median)", "each pair", "processor time of both", "target", ""]
#: A write and a read of one workflow, in seconds: well below what a loaded n8n 1.123.0 on SQLite showed (39, 13 ms).
PACE_SECONDS = (0.020, 0.008)
PARTS = ("capture", "check", "promote", "memory")
ABOUT = f"""
Workflows of about {SIZE_BYTES // 1000} kB in a sandbox process of its own. The ratio is the median over alternating
pairs. Processor time is that of the worker and of Git, without PostgreSQL and the sandbox.
"""
ABOUT_PROMOTIONS = f"""{ABOUT}
{CONCURRENCY} at a time, the writes themselves one at a time, on both sides. “A real n8n's pace”: the sandbox waits
{PACE_SECONDS[0] * 1000:.0f} ms for each write and {PACE_SECONDS[1] * 1000:.0f} ms for each read of one workflow. A
promotion is its whole operation: gates, snapshot before, read-compare-write-read of each workflow, the whole target
verified, the approved branch, snapshot after. Where the sandbox answers at once, both sides are bound by the one
processor that Python can use; the bare side does not look before it writes, nor capture, verify or approve anything.
"""


def slow_down(instance: Any, pace: tuple[float, float] | None) -> None:
    """Let an instance take its time for each single workflow, as n8n does."""
    if pace is None:
        return
    for method in ("POST", "PUT"):
        instance.fault(kind="latency", seconds=pace[0], method=method, path="/workflows")
    instance.fault(kind="latency", seconds=pace[1], method="GET", path="/workflows/.+")


class Bench:
    """One sandbox, one tenant."""

    def __init__(self, server: Any, options: argparse.Namespace) -> None:
        self.server = server
        self.options = options
        self.tenant, self.owner = fresh_tenant()
        self.rows: list[list[str]] = []
        self._names = 0

    def instance(self, count: int, *, seed: int = 0) -> Any:
        made = self.server.control.create()
        if count:
            made.generate(count, size=SIZE_BYTES, seed=seed, active_ratio=0.3)
        return made

    def environment(self, instance: Any, tenant: Any = None) -> Any:
        self._names += 1
        return environment_of(
            tenant or self.tenant, base_url=instance.base_url, api_key=instance.api_key, name=f"env{self._names}"
        )

    def bare(self, instance: Any) -> Bare:
        return Bare(instance.api_url, instance.headers)

    def capture(self, environment: Any) -> float:
        from snapshots.services import start_capture

        operation = start_capture(
            tenant_id=environment.tenant_id, environment_id=environment.pk, requested_by=self.owner
        )
        return timed(lambda: drive(operation))

    def note(self, name: str, pairs: list[tuple[float, float]], target: float | None) -> None:
        self.rows.append(ratio_row(name, pairs, target))
        print(*self.rows[-1], sep="  ", flush=True)

    # -- capture ------------------------------------------------------------------------------------------------

    def measure_captures(self) -> None:
        count = self.options.workflows
        instance = self.instance(count)
        bare = self.bare(instance)
        bare.capture()

        def first() -> float:
            tenant, _ = fresh_tenant()
            return self.capture(self.environment(instance, tenant))

        pairs = alternating(self.options.pairs, first, lambda: timed(bare.capture))
        self.note(f"first capture of {count:,}: everything new", pairs, 1.3)
        environment = self.environment(instance)
        self.capture(environment)
        pairs = alternating(self.options.pairs, lambda: self.capture(environment), lambda: timed(bare.capture))
        self.note(f"capture of {count:,} again: nothing changed", pairs, 1.3)
        bare.close()
        instance.delete()

    # -- drift check --------------------------------------------------------------------------------------------

    def check(self, environment: Any) -> float:
        from drift.services import start_check

        operation = start_check(tenant_id=environment.tenant_id, environment_id=environment.pk, requested_by=self.owner)
        return timed(lambda: drive(operation))

    def measure_checks(self) -> None:
        from drift.models import DriftMemory
        from tenants.scope import tenant_scope

        count = self.options.workflows
        instance = self.instance(count)
        bare = self.bare(instance)
        environment = self.environment(instance)
        self.capture(environment)
        self.check(environment)

        def unremembered() -> float:
            with tenant_scope(environment.tenant_id):
                DriftMemory.objects.filter(environment_id=environment.pk).update(pages={})
            return self.check(environment)

        pairs = alternating(self.options.pairs, unremembered, lambda: timed(bare.check))
        self.note(f"drift check of {count:,}: every page read anew", pairs, 1.2)
        pairs = alternating(self.options.pairs, lambda: self.check(environment), lambda: timed(bare.check))
        self.note(f"drift check of {count:,}: pages remembered by their ETag", pairs, 1.2)
        ids = [raw["id"] for raw in instance.state()["workflows"]]
        dice = random.Random(1)

        def drifted() -> float:
            for ident in dice.sample(ids, 20):
                instance.edit(ident)
            return self.check(environment)

        pairs = alternating(self.options.pairs, drifted, lambda: timed(bare.capture))
        self.note("drift check that finds 20 changed, captured and described (bare: a capture)", pairs, None)
        bare.close()
        instance.delete()

    # -- promotion ----------------------------------------------------------------------------------------------

    def promote(self, source: Any, target: Any, keys: list[str]) -> float:
        from promotions import services

        tenant_id = target.tenant_id
        promotion = services.create(
            tenant_id=tenant_id,
            request=services.PromotionRequest(source_id=source.pk, target_id=target.pk, keys=keys),
            by=self.owner,
        )
        services.submit(tenant_id=tenant_id, promotion_id=promotion.pk, by=self.owner)
        operation = services.execute(tenant_id=tenant_id, promotion_id=promotion.pk, by=self.owner)
        seconds = timed(lambda: drive(operation))
        self.last_operation = operation
        return seconds

    def steps(self) -> str:
        """Where the last promotion spent its time."""
        from operations.models import OperationStep
        from tenants.scope import tenant_scope

        spans: dict[str, list[Any]] = {}
        with tenant_scope(self.last_operation.tenant_id):
            for row in OperationStep.objects.filter(operation_id=self.last_operation.pk).order_by("position"):
                span = spans.setdefault(":".join(row.name.split(":")[:2]), [row.started_at, row.ended_at])
                span[:] = [min(span[0], row.started_at), max(span[1], row.ended_at)]
        return ", ".join(f"{name} {(ended - began).total_seconds():.2f} s" for name, (began, ended) in spans.items())

    def measure_promotions(self) -> None:
        from tenants.scope import tenant_scope
        from workflows.identity import key_by_workflow_id

        count = self.options.promoted
        origin = self.instance(count)
        source = self.environment(origin)
        self.capture(source)
        with tenant_scope(self.tenant.pk):
            keys = sorted(key_by_workflow_id(source.pk).values())
        bodies = [{key: raw[key] for key in WRITTEN} for raw in origin.state()["workflows"]]

        for pace, pairs, note, target in (
            (PACE_SECONDS, self.options.pairs, "at a real n8n's pace", 1.3),
            (None, min(2, self.options.pairs), "the sandbox answers at once", None),
        ):
            runs = [self._create_pair(source, keys, bodies, pace, first=n % 2 == 0) for n in range(pairs)]
            self.note(f"promotion that creates {count:,}, {note} (bare: POST, read back)", runs, target)
            print("  ", self.steps(), flush=True)
            runs = [self._update_pair(source, keys, bodies, pace, first=n % 2 == 0) for n in range(pairs)]
            self.note(f"promotion that updates {count:,}, {note} (bare: PUT, read back)", runs, target)
            print("  ", self.steps(), flush=True)
        origin.delete()

    def _in_turns(self, ours: Callable[[], float], bare: Callable[[], float], *, first: bool) -> tuple[float, float]:
        if first:
            seconds = ours()
            return seconds, bare()
        seconds = bare()
        return ours(), seconds

    def _create_pair(
        self, source: Any, keys: list[str], bodies: list[Any], pace: tuple[float, float] | None, *, first: bool
    ) -> tuple[float, float]:
        def ours() -> float:
            # A few workflows stand there: from them it is known which credentials there are.
            instance = self.instance(10, seed=99)
            target = self.environment(instance)
            self.capture(target)
            slow_down(instance, pace)
            seconds = self.promote(source, target, keys)
            instance.delete()
            return seconds

        def theirs() -> float:
            instance = self.instance(10, seed=99)
            slow_down(instance, pace)
            bare = self.bare(instance)
            seconds = timed(lambda: bare.create(bodies, concurrency=CONCURRENCY))
            bare.close()
            instance.delete()
            return seconds

        return self._in_turns(ours, theirs, first=first)

    def _update_pair(
        self, source: Any, keys: list[str], bodies: list[Any], pace: tuple[float, float] | None, *, first: bool
    ) -> tuple[float, float]:
        old = [
            {**body, "nodes": [{**n, "notes": "old"} for n in body["nodes"][:-1]], "connections": {}} for body in bodies
        ]

        def seeded() -> tuple[Any, list[str]]:
            instance = self.server.control.create()
            made = [one for start in range(0, len(old), 250) for one in instance.seed(old[start : start + 250])]
            return instance, [one["id"] for one in made]

        def ours() -> float:
            instance, _ = seeded()
            target = self.environment(instance)
            self.capture(target)
            slow_down(instance, pace)
            seconds = self.promote(source, target, keys)
            instance.delete()
            return seconds

        def theirs() -> float:
            instance, ids = seeded()
            slow_down(instance, pace)
            bare = self.bare(instance)
            wanted = dict(zip(ids, bodies, strict=True))
            seconds = timed(lambda: bare.write(wanted, concurrency=CONCURRENCY))
            bare.close()
            instance.delete()
            return seconds

        return self._in_turns(ours, theirs, first=first)

    # -- memory -------------------------------------------------------------------------------------------------

    def measure_memory(self) -> tuple[float, float, int]:
        """A capture in a fresh process: its own peak and that of its largest child in MB, and the seconds."""
        instance = self.instance(self.options.large, seed=7)
        environment = self.environment(instance)
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.one_capture", str(self.tenant.pk), str(environment.pk)],
            cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True,
        )  # fmt: skip
        instance.delete()
        found = json.loads(answer.stdout.strip().splitlines()[-1])
        return found["self_mb"], found["child_mb"], found["bytes"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench main_job")
    parser.add_argument("--workflows", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--promoted", type=int, default=2000)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    start_django()
    parts = options.only.split(",")
    from sandbox.testing import SandboxServer

    began = time.monotonic()
    command = "script/bench main_job" + ("" if options.workflows == 2000 else f" --workflows {options.workflows}")

    def told(name: str, title: str, body: str, only: str) -> None:
        print(body)
        if not options.no_save:
            save(name, command=f"{command} --only {only}", title=title, body=body)

    with own_git_root(), SandboxServer() as server:
        bench = Bench(server, options)
        if "capture" in parts:
            bench.measure_captures()
        if "check" in parts:
            bench.measure_checks()
        if bench.rows:
            only = ",".join(part for part in ("capture", "check") if part in parts)
            told("main_job", "Capture and drift check against their bare limits", table(HEAD, bench.rows) + ABOUT, only)
            bench.rows = []
        if "promote" in parts:
            bench.measure_promotions()
            told("promotion", "Promotion against its bare limit", table(HEAD, bench.rows) + ABOUT_PROMOTIONS, "promote")
        if "memory" in parts:
            told("memory", "Memory of a large capture", _memory(bench), "memory")
    print(f"{time.monotonic() - began:.0f} s")


def _memory(bench: Bench) -> str:
    own, child, size = bench.measure_memory()
    large = bench.options.large
    row = [
        f"{large:,} workflows, {large * SIZE_BYTES / 1e6:.0f} MB as JSON, {size / 1e6:.0f} MB indented",
        f"{own:.0f} MB",
        f"{child:.0f} MB",
        f"{own + child:.0f} MB",
        "≤ 400 MB",
        "met" if own + child <= 400 else "**missed**",
    ]
    return table(["capture in a fresh process", "worker", "git", "together", "target", ""], [row])


if __name__ == "__main__":
    main()
