"""What reading n8n's executions costs: the first fill, a round with nothing new, a round with 500 new ones; pages.

    script/bench executions [--rows 100000] [--rounds 7]

The bare limit is the same pages asked of the same server by one httpx client, one after the other, parsed by orjson and
written by COPY in one transaction into a table with the same columns and indexes, but without policies and foreign keys
(PostgreSQL has no COPY into a table with policies), where nothing is known before. The server is a process of its own
that hands out rows shaped like those of n8n 2.41.1.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import re
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg

from .setup import Spent, environment_of, fresh_tenant, ratio_row, save, start_django, table, timed

WORKFLOWS = 60
PAGE_ROWS = 250
SPEC = b"openapi: 3.0.0\npaths: {/executions: {get: {}}, '/executions/{executionId}/retry': {post: {}}}\n"
BARE = "bare_executions"
COLUMNS = (
    "id, tenant_id, environment_id, env_execution_id, number, env_workflow_id, status, mode, started_at, ended_at,"
    " duration_ms, version_id, sorted_at, seen_at"
)


# -- the server -------------------------------------------------------------------------------------------------------


class Server:
    """An ASGI application with ``count`` executions, spread over six days; ``POST /more/<n>`` adds some."""

    def __init__(self, count: int) -> None:
        self.count, self.total = count, count
        self.began = datetime.now(UTC) - timedelta(days=6)

    def row(self, number: int) -> dict[str, Any]:
        chance = random.Random(number)
        started = self.began + timedelta(days=6) * (number / self.total) if number <= self.total else datetime.now(UTC)
        started -= timedelta(minutes=1)
        status = "error" if chance.random() < 0.04 else "success"
        return {
            "id": str(number), "finished": status == "success", "mode": "webhook", "retryOf": None,
            "retrySuccessId": None, "status": status, "startedAt": _text(started),
            "stoppedAt": _text(started + timedelta(milliseconds=chance.randint(20, 4000))),
            "workflowId": f"workflow{int(chance.random() ** 2 * WORKFLOWS):08}", "waitTill": None,
        }  # fmt: skip

    def answer(self, method: str, path: str, query: dict[str, str]) -> bytes:
        if method == "POST":
            self.count += int(path.rpartition("/")[2])
            return b"{}"
        if path.endswith("openapi.yml"):
            return SPEC
        if not path.endswith("/executions"):
            return orjson.dumps(self.row(int(path.rpartition("/")[2])))
        if query.get("status"):
            return b'{"data":[],"nextCursor":null}'
        last = orjson.loads(base64.b64decode(query["cursor"]))["lastId"] if "cursor" in query else self.count + 1
        numbers = range(int(last) - 1, max(0, int(last) - 1 - PAGE_ROWS), -1)
        more = numbers[-1] > 1 if numbers else False
        after = (
            base64.b64encode(orjson.dumps({"lastId": str(numbers[-1]), "limit": PAGE_ROWS})).decode() if more else None
        )
        return orjson.dumps({"data": [self.row(number) for number in numbers], "nextCursor": after})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from urllib.parse import parse_qsl

        if scope["type"] != "http":
            return
        body = self.answer(scope["method"], scope["path"], dict(parse_qsl(scope["query_string"].decode())))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def serve(count: int, port: int) -> None:
    import uvicorn

    uvicorn.run(Server(count), host="127.0.0.1", port=port, log_level="error", lifespan="off", access_log=False)


class Serving:
    """The server as a process of its own."""

    def __init__(self, count: int) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = ["-m", "benchmarks.executions", "--serve", str(self.port), "--rows", str(count)]
        self.process = subprocess.Popen([sys.executable, *words])

    def __enter__(self) -> Serving:
        for _ in range(200):
            try:
                httpx.get(f"{self.url}/api/v1/executions", timeout=5)
                return self
            except httpx.HTTPError:
                time.sleep(0.05)
        raise SystemExit("the server did not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def more(self, count: int) -> None:
        httpx.post(f"{self.url}/more/{count}").raise_for_status()


# -- both sides -------------------------------------------------------------------------------------------------------


def bare_pages(url: str, down_to: int) -> Iterator[list[dict[str, Any]]]:
    """The pages above a number, as plainly as can be."""
    with httpx.Client(base_url=f"{url}/api/v1", headers={"X-N8N-API-KEY": "k"}) as client:
        client.get("/executions", params={"limit": PAGE_ROWS, "status": "running", "includeData": "false"})
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": PAGE_ROWS, "includeData": "false", **cursor}
            body = orjson.loads(client.get("/executions", params=query).content)
            yield body["data"]
            if body["nextCursor"] is None or int(body["data"][-1]["id"]) <= down_to:
                return
            cursor = {"cursor": body["nextCursor"]}


def bare(url: str, tenant_id: uuid.UUID, environment_id: uuid.UUID, *, down_to: int = 0) -> None:
    """Those pages into the table by COPY."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner, owner.cursor() as cursor:
        now = datetime.now(UTC)
        with cursor.copy(f"COPY {BARE} ({COLUMNS}) FROM STDIN") as into:
            for rows in bare_pages(url, down_to):
                for row in rows:
                    number = int(row["id"])
                    if number <= down_to:
                        continue
                    started = datetime.fromisoformat(row["startedAt"])
                    ended = datetime.fromisoformat(row["stoppedAt"])
                    took = int((ended - started).total_seconds() * 1000)
                    into.write_row(
                        (uuid.uuid4(), tenant_id, environment_id, row["id"], number, row["workflowId"], row["status"],
                         row["mode"], started, ended, took, "", started, now)
                    )  # fmt: skip


def owner(statement: str, *values: Any) -> None:
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as connection:
        connection.execute(statement, values)


def resident_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


class Bench:
    def __init__(self, url: str, rows: int) -> None:
        self.url, self.rows = url, rows
        self.tenant, self.owner = fresh_tenant()
        self.ours = environment_of(self.tenant, base_url=url, api_key="k", name="Ours")
        self.bare = environment_of(self.tenant, base_url=url, api_key="k", name="Bare")
        self.rounds = 0

    def empty(self) -> None:
        owner("TRUNCATE executions")
        owner("DELETE FROM execution_feeds")
        owner(f"DROP TABLE IF EXISTS {BARE}")
        owner(f"CREATE TABLE {BARE} (LIKE executions INCLUDING ALL)")
        owner("VACUUM ANALYZE executions")

    def collect(self) -> None:
        """Rounds until nothing is left."""
        from workflows.executions import collecting

        for rounds in range(1, 100):
            found = collecting.collect(self.ours)
            assert found is not None and not found.odd, found
            if not found.left:
                self.rounds = rounds
                return
        raise SystemExit("it does not come to an end")

    def count(self, *, ours: bool = True) -> int:
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as connection:
            row = connection.execute(f"SELECT count(*) FROM {'executions' if ours else BARE}").fetchone()
            return row[0] if row else 0


def pairs(count: int, ours: Callable[[], Spent], bare_one: Callable[[], Spent]) -> list[tuple[float, float]]:
    found = []
    for number in range(count):
        if number % 2:
            other = bare_one()
            found.append((ours(), other))
        else:
            found.append((ours(), bare_one()))
    return found


def first_fill(bench: Bench, rounds: int) -> list[tuple[float, float]]:
    def ours() -> Spent:
        bench.empty()
        spent = timed(bench.collect)
        assert bench.count() == bench.rows
        return spent

    def plain() -> Spent:
        bench.empty()
        spent = timed(lambda: bare(bench.url, bench.tenant.pk, bench.bare.pk))
        assert bench.count(ours=False) == bench.rows
        return spent

    return pairs(rounds, ours, plain)


def steady(bench: Bench, serving: Serving, rounds: int, new: int) -> list[tuple[float, float]]:
    """Rounds with ``new`` executions each, on a table that holds all; each side reads what is new to it."""

    def ours() -> Spent:
        if new:
            serving.more(new)
            bench.rows += new
        spent = timed(bench.collect)
        assert bench.count() == bench.rows
        return spent

    def plain() -> Spent:
        down_to = bench.rows - new
        spent = timed(lambda: bare(bench.url, bench.tenant.pk, bench.bare.pk, down_to=down_to))
        if new:
            owner(f"DELETE FROM {BARE} WHERE number > %s", down_to)
        return spent

    return pairs(rounds, ours, plain)


def places_of(bench: Bench) -> None:
    """Workflows behind the executions, so that pages have names and links."""
    from core import clock
    from tenants.scope import tenant_scope
    from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

    with tenant_scope(bench.tenant.pk):
        for number in range(WORKFLOWS):
            made = CanonicalWorkflow.objects.create(
                tenant=bench.tenant, key=f"workflow-{number}", name=f"Workflow {number}"
            )
            for environment in (bench.ours, bench.bare):
                WorkflowEnvMap.objects.create(
                    tenant=bench.tenant, canonical_workflow=made, environment=environment, env_active=True,
                    env_workflow_id=f"workflow{number:08}", env_name=made.name, env_content_hash="a" * 64,
                )  # fmt: skip
        Environment.objects.filter(pk=bench.ours.pk).update(last_captured_at=clock.now())
    owner("VACUUM ANALYZE executions")


def pages(bench: Bench, requests: int = 30) -> list[list[str]]:
    """Server time of the pages that count executions, in this process, warm."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    def at(name: str, **kwargs: Any) -> str:
        return reverse(name, kwargs={"tenant_slug": bench.tenant.slug, **kwargs})

    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(bench.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    listed = at("executions", pk=bench.ours.pk)
    found = []
    for name, address in (
        ("executions", listed),
        ("executions, failed", f"{listed}?status=failed"),
        ("executions, of one workflow", f"{listed}?q=workflow-1"),
        ("environment", at("environment", pk=bench.ours.pk)),
        ("workflow (the busiest)", at("workflow", key="workflow-0")),
        ("matrix", at("tenant-home")),
    ):
        times = []
        for _ in range(requests + 2):
            began = time.perf_counter()
            answer = client.get(address)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, (address, answer.status_code)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        times = sorted(times[2:])
        p95 = statistics.quantiles(times, n=20)[18]
        found.append([name, f"{statistics.median(times):.0f} ms", f"{p95:.0f} ms", str(len(queries))])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fills", type=int, default=3)
    parser.add_argument("--serve", type=int)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.rows, asked.serve)
        return
    start_django()
    from django.conf import settings
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018 -- all modules of the pages, before anything is measured
    settings.ALLOWED_HOSTS = ["*"]
    with Serving(asked.rows) as serving:
        bench = Bench(serving.url, asked.rows)
        bench.empty()
        bench.collect()  # warm, and the process has all that it needs
        before = resident_mb("VmRSS")
        bench.empty()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        bench.collect()
        grown = resident_mb("VmHWM") - before
        fills = first_fill(bench, asked.fills)
        rounds = bench.rounds
        bench.empty()
        bench.collect()
        bare(bench.url, bench.tenant.pk, bench.bare.pk)
        owner("VACUUM ANALYZE executions")
        nothing = steady(bench, serving, asked.rounds, 0)
        some = steady(bench, serving, asked.rounds, 500)
        places_of(bench)
        drawn = pages(bench)
    head = ["what", "ours", "bare", "ratio", "each", "processor, ours / bare", "target", ""]
    body = table(
        head,
        [
            ratio_row(f"first fill of {asked.rows:,} ({rounds} rounds)", fills, None),
            ratio_row("a round with nothing new", nothing, None),
            ratio_row("a round with 500 new ones", some, None),
        ],
    )
    body += (
        f"\nMemory: the peak of a first fill of {asked.rows:,} was {grown:.0f} MB above what the process held before.\n"
    )
    body += (
        f"\nThe machine was {'not ' if os.getloadavg()[2] > 2 else ''}idle: its load average over the last quarter of an"
        f" hour was {os.getloadavg()[2]:.0f}.\n"
    )
    body += f"\n## Pages with {asked.rows:,} executions in a week, {WORKFLOWS} workflows\n\nTarget: p95 ≤ 100 ms.\n\n"
    body += table(["page", "median", "p95", "queries"], drawn)
    words = f"script/bench executions --rows {asked.rows} --rounds {asked.rounds} --fills {asked.fills}"
    save("executions", command=words, title="What reading executions costs", body=body)


if __name__ == "__main__":
    main()
