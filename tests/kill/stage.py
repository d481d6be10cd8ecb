"""The stage for kills: a tenant, its n8n, a Redis database of its own, a worker and a beat that stand by."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Exchange, Queue

from core import crypto
from operations import engine
from operations.models import Operation
from promotions import services
from promotions.models import Promotion
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows.content import fingerprint, portable
from workflows.identity import key_by_workflow_id
from workflows.models import Environment

from .estate import REFUSED, seed_source, seed_target

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 2.0
REAPER_SECONDS = 0.5
PATIENCE_SECONDS = 240.0
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


def until(what: str, found: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS, every: float = 0.05) -> Any:
    """The first true answer of ``found``; fails with ``what`` if there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def end(process: subprocess.Popen[Any]) -> None:
    """End a process group that this file started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            return


class TakenByAnother(Exception):
    """The reaper found the work before the worker that is to die had taken it: the play says nothing."""


class Broker:
    """The Redis database of these tests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis = redis.Redis.from_url(url)
        self.app = Celery("kill-tests", broker=url, set_as_current=False)
        # Nothing is emptied while a message is on its way to the worker that is to die.
        self.lock = threading.Lock()

    def wake(self, operation: Operation, *, queue: str) -> None:
        """Send what the console sends, to a queue of choice."""
        self.app.send_task(
            "operations.tasks.drive",
            args=[str(operation.pk), str(operation.tenant_id) if operation.tenant_id else None],
            queue=Queue(queue, Exchange("", type="direct"), routing_key=queue),
        )

    def empty(self) -> None:
        """As if Redis had lost all that it holds."""
        # Beat and the workers go on meanwhile: a moment later there is something in it again.
        assert self.redis.flushdb()


class Forge:
    """Workers that are to be killed; see ``forge``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._pids: list[int] = []
        with (folder / "victims.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kill.forge"],
                cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def ask(self, **order: Any) -> Any:
        with self._lock:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def worker(self, *, kill_at: str | None) -> Victim:
        """Start a worker with a queue of its own."""
        name = f"victim-{uuid.uuid4().hex[:8]}"
        ready, trace = self.folder / f"{name}.ready", self.folder / f"{name}.trace"
        pid = self.ask(queue=name, kill_at=kill_at, ready=str(ready), trace=str(trace))
        self._pids.append(pid)
        return Victim(self, pid, name, ready, trace)

    def stop(self) -> None:
        for pid in self._pids:
            if self.ask(poll=pid) is None:
                os.kill(pid, signal.SIGKILL)
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=10)


@dataclass
class Victim:
    """One worker that will be killed."""

    forge: Forge
    pid: int
    queue: str
    ready: Path
    trace: Path

    def exit_code(self) -> int | None:
        found = self.forge.ask(poll=self.pid)
        return None if found is None else int(found)

    def boundaries(self) -> list[str]:
        return self.trace.read_text().split("\n")[:-1] if self.trace.exists() else []

    def stop(self) -> None:
        """End a worker that was not killed by itself."""
        if self.exit_code() is None:
            os.kill(self.pid, signal.SIGKILL)
            until("the worker has ended", self.exit_code)


@dataclass
class Ending:
    """What became of one promotion whose worker was killed."""

    outcome: str  # whole | before | a sentence about what it is instead
    operation: Operation
    promotion: Promotion
    exit_code: int | None = None
    boundaries: list[str] = field(default_factory=list)
    waited_seconds: float = 0.0
    ended_after_seconds: float = 0.0

    def says(self) -> tuple[str, str]:
        return str(self.operation.status), str(self.promotion.status)


@dataclass
class Stage:
    """What tests do: ``play`` a promotion and kill its worker."""

    tenant: Any
    owner: Any
    source: Environment
    sandbox: SandboxServer
    broker: Broker
    forge: Forge
    keys: tuple[str, ...] = ()

    def play(self, *, kill_at: str | None, refused: bool = False) -> Ending:
        """Promote twenty workflows to a fresh production, kill the worker at a boundary, see what others make of it.

        With ``refused`` n8n refuses one of the writes for good, so that the target has to be put back.
        """
        for _ in range(3):
            with contextlib.suppress(TakenByAnother):
                return self._play(kill_at, refused)
        raise AssertionError("the machine is too busy: the reaper was always faster than the worker")

    def _play(self, kill_at: str | None, refused: bool) -> Ending:
        victim = self.forge.worker(kill_at=kill_at)
        target, instance, ids = self.production()
        try:
            promotion = self.plan(target)
            if refused:
                self.refuse(instance, ids)
            before = standing(instance)
            until("the worker is ready", victim.ready.exists)
            operation = self.begin(promotion, victim)
            if kill_at is None:
                died = None
            else:
                until(f"the worker was killed at {kill_at}", lambda: victim.exit_code() is not None)
                died = time.monotonic()
                with self.broker.lock:
                    self.broker.empty()
            return self.ending(operation, promotion, instance, target, before, victim, died)
        finally:
            victim.stop()
            instance.delete()

    def production(self) -> tuple[Environment, SandboxInstance, dict[str, str]]:
        instance = self.sandbox.control.create()
        ids = seed_target(instance)
        target = make_environment(self.tenant, instance, f"Production {instance.name}", "staging")
        capture(target)
        return target, instance, ids

    def plan(self, target: Environment) -> Promotion:
        promotion = services.create(
            tenant_id=self.tenant.pk,
            request=services.PromotionRequest(
                source_id=self.source.pk, target_id=target.pk, keys=self.keys, options={"active": "copy"}
            ),
            by=self.owner,
        )
        counts = (promotion.plan or {})["counts"]
        assert counts["create"] + counts["update"] == 20, counts
        return services.submit(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.owner)

    def refuse(self, instance: SandboxInstance, ids: dict[str, str]) -> None:
        """From now on n8n refuses one of the writes."""
        instance.fault(kind="status", status=400, method="PUT", path=f"/workflows/{ids[REFUSED]}$")

    def begin(self, promotion: Promotion, victim: Victim) -> Operation:
        """The work whose worker is to die."""
        return self.start(promotion, victim, services.execute)

    def start(self, promotion: Promotion, victim: Victim, work: Callable[..., Operation]) -> Operation:
        """Execute it, or roll it back, by this worker and no other."""
        with self.broker.lock:
            operation = work(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.owner)
            self.broker.wake(operation, queue=victim.queue)
            until("somebody has begun", lambda: self.operation(operation).fence >= 1)
            try:
                until("it is ours", lambda: "operation:claimed" in victim.boundaries(), seconds=15)
            except AssertionError as error:
                raise TakenByAnother from error
        return operation

    def operation(self, operation: Operation) -> Operation:
        with tenant_scope(self.tenant.pk):
            return Operation.objects.get(pk=operation.pk)

    def ending(
        self,
        operation: Operation,
        promotion: Promotion,
        instance: SandboxInstance,
        target: Environment,
        before: dict[str, Any],
        victim: Victim,
        died: float | None,
    ) -> Ending:
        taken = time.monotonic()
        if died is not None:
            until("another worker took over", lambda: _moved_on(self.operation(operation)))
            taken = time.monotonic()
        until("the operation has ended", lambda: self.operation(operation).status in (*ENDED, "PARKED"), every=0.1)
        ended = time.monotonic()
        row = self.operation(operation)
        done = services.get_promotion(tenant_id=self.tenant.pk, promotion_id=promotion.pk)
        return Ending(
            outcome=outcome(instance, target, done, before),
            operation=row,
            promotion=done,
            exit_code=victim.exit_code(),
            boundaries=victim.boundaries(),
            waited_seconds=taken - (died or taken),
            ended_after_seconds=ended - (died or ended),
        )


def _moved_on(operation: Operation) -> bool:
    return operation.fence > 1 or operation.status in ENDED


def make_environment(tenant: Any, instance: SandboxInstance, name: str, kind: str) -> Environment:
    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant=tenant,
            name=name,
            slug=name.lower().replace(" ", "-"),
            kind=kind,
            base_url=instance.base_url,
            api_key_encrypted=crypto.encrypt(instance.api_key),
        )


def capture(environment: Environment) -> None:
    """A snapshot, made in this process (or by the worker that stands by, if it was faster)."""
    tenant_id = environment.tenant_id
    operation = start_capture(tenant_id=tenant_id, environment_id=environment.pk, requested_by=None)
    engine.drive(operation_id=operation.pk, tenant_id=tenant_id)

    def status() -> str:
        with tenant_scope(tenant_id):
            return str(Operation.objects.get(pk=operation.pk).status)

    until("the capture has ended", lambda: status() in ENDED)
    assert status() == "COMPLETED"
    with tenant_scope(tenant_id):
        environment.refresh_from_db()


def standing(instance: SandboxInstance) -> dict[str, tuple[str, str, bool]]:
    """Every workflow as it stands in n8n, behind the console's back: id to name, hash and active."""
    return {
        raw["id"]: (raw["name"], fingerprint(portable(raw)).content_hash({}), bool(raw["active"]))
        for raw in instance.state()["workflows"]
    }


def outcome(instance: SandboxInstance, target: Environment, promotion: Promotion, before: dict[str, Any]) -> str:
    """``whole``, ``before``, or what it is instead: by the hash of every workflow of the target."""
    after = standing(instance)
    if after == before:
        return "before"
    items = {item["key"]: item for item in (promotion.plan or {})["items"]}
    with tenant_scope(target.tenant_id):
        keys = key_by_workflow_id(target.pk)
    wrong, promoted = [], {}
    for raw in instance.state()["workflows"]:
        item = items.get(keys.get(raw["id"], ""))
        if item is None:
            if after[raw["id"]] != before.get(raw["id"]):
                wrong.append(f"{raw['name']} is new or changed, and was not promoted")
            continue
        found = fingerprint(portable(raw)).content_hash(keys)
        if item["key"] in promoted:
            wrong.append(f"{raw['name']} is there twice")
        if found != item["wanted_hash"] or bool(raw["active"]) != bool(item["active"]):
            wrong.append(f"{raw['name']} is not what was approved")
        promoted[item["key"]] = raw["id"]
    wrong += [f"{items[key]['name']} is missing" for key in items.keys() - promoted.keys()]
    wrong += [f"{before[ident][0]} is gone" for ident in before.keys() - after.keys()]
    return "; ".join(wrong) or "whole"


@contextlib.contextmanager
def standby(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A worker and a beat as production runs them: what finds and finishes the work of the dead."""
    celery = [sys.executable, "-m", "celery", "-A", "opsconsole"]
    commands = {
        "worker": [*celery, "worker", "-P", "threads", "-c", "8", "-Q", "operations,control", "--without-mingle"],
        "beat": [*celery, "beat", "-s", str(folder / "beat"), "--pidfile", ""],
    }
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
            stack.callback(end, process)
        yield


__all__ = ["LEASE_SECONDS", "Broker", "Ending", "Forge", "Stage", "Victim", "capture", "make_environment", "standby"]


def prepare(tenant: Any, owner: Any, sandbox: SandboxServer, broker: Broker, forge: Forge) -> Stage:
    """Staging with the twenty workflows, captured."""
    instance = sandbox.control.create("staging")
    seed_source(instance)
    source = make_environment(tenant, instance, "Staging", "staging")
    capture(source)
    with tenant_scope(tenant.pk):
        keys = tuple(sorted(key_by_workflow_id(source.pk).values()))
    assert len(keys) == 20
    return Stage(tenant, owner, source, sandbox, broker, forge, keys)
