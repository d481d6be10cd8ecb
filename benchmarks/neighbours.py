"""What a tenant notices while another one attacks: its pages and its captures, quiet and under each attack.

    script/bench neighbours [--requests 60] [--only waits,streams]

A console of its own (web, worker, beat) is asked over HTTP. One tenant attacks with what its role lets it do, against an
n8n of its own that is slow, endless or packs bombs; the other one's page and list of jobs are asked in turns all the
while. Target: a p95 of at most twice that of the quiet console. Nothing else should run on the machine.

Attackers and their n8n are processes of their own, but on the same cores: the rows *against nothing* make the same calls
to a server that answers 429 and does nothing, which is what making them takes of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import multiprocessing
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.running import Running, running_console

from .setup import environment_of, fresh_tenant, own_git_root, save, start_django, table

TARGET = 2.0
SLOW_SECONDS = 20.0
SETTLE_SECONDS = 3.0
AGAIN_SECONDS = 0.5
PATIENCE_SECONDS = 12.0
READING_SECONDS = 0.05
"""Between two pages: nobody clicks faster, and the console lets nobody go on faster for long."""
PAGES = ("", "jobs/", "snapshots/", "drift/")
BOMB = gzip.compress(bytes(200 * 1024 * 1024), 9)
LIMITS = {"OPSCONSOLE_REQUESTS_PER_SECOND": "10", "OPSCONSOLE_REQUESTS_AT_ONCE": "100"}
"""As in production: tests run without."""
TICKS = os.sysconf("SC_CLK_TCK")
_processes = multiprocessing.get_context("fork")
_here = threading.local()


class Attacker(BaseHTTPRequestHandler):
    """An n8n whose first part of the path says how it behaves: ``/slow``, ``/endless``, ``/bomb``, ``/well``."""

    protocol_version = "HTTP/1.1"
    pages = 0

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        if behaviour == "slow":
            time.sleep(SLOW_SECONDS)
        if behaviour == "bomb":
            self._answer(BOMB, "gzip")
            return
        Attacker.pages += 1
        row = {
            "id": f"w{Attacker.pages}",
            "name": f"W{Attacker.pages}",
            "nodes": [],
            "connections": {},
            "active": False,
        }
        following = f"c{Attacker.pages}" if behaviour == "endless" else None
        self._answer(json.dumps({"data": [row], "nextCursor": following}).encode())

    def _answer(self, body: bytes, encoding: str = "") -> None:
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: there would be thousands of lines."""


class Nothing(BaseHTTPRequestHandler):
    """Refuses, as the console would, and does nothing for it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}")

    do_POST = do_GET

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(handler: type[BaseHTTPRequestHandler], address: str) -> Iterator[str]:
    """A server in a process of its own: in this one it would take turns with whoever measures."""
    server = ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    process = _processes.Process(target=server.serve_forever, daemon=True)
    process.start()
    server.socket.close()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        process.kill()
        process.join()


def worked(pid: int) -> float:
    """Seconds of the processors that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def client() -> httpx.Client:
    """This thread's: making one takes longer than a call."""
    if not hasattr(_here, "client"):
        _here.client = httpx.Client(timeout=60, verify=False)
    found: httpx.Client = _here.client
    return found


@dataclass
class Side:
    """A tenant with its owner's sign-in and token."""

    url: str
    tenant: Any
    token: str
    cookie: str

    def call(self, method: str, path: str, *, timeout: float = 60, **json_body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        address = f"{self.url}/api/v1{path}"
        return client().request(method, address, headers=headers, json=json_body or None, timeout=timeout)

    def capture(self, environment: Any) -> str:
        answer = self.call("POST", "/snapshots?wait=0", environment_id=str(environment.pk))
        return str(answer.json()["operation"]["id"])

    def captured_in(self, environment: Any) -> float:
        """Seconds from the press to the end of a capture of one's own."""
        began = time.monotonic()
        identity = self.capture(environment)
        while time.monotonic() - began < 290:
            found = self.call("GET", f"/operations/{identity}?wait=20").json()["operation"]
            if found["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
                return time.monotonic() - began if found["status"] == "COMPLETED" else float("inf")
        return float("inf")

    def asks(self, requests: int) -> tuple[list[float], int]:
        """Milliseconds of pages, in order of size, and how many did not answer 200."""
        found, failed = [], 0
        with httpx.Client(headers={"Cookie": self.cookie}, timeout=60, verify=False) as browser:
            for number in range(requests):
                began = time.perf_counter()
                try:
                    page = browser.get(f"{self.url}/t/{self.tenant.slug}/{PAGES[number % len(PAGES)]}")
                    failed += page.status_code != 200
                except httpx.HTTPError:
                    failed += 1
                found.append((time.perf_counter() - began) * 1000)
                time.sleep(READING_SECONDS)
        return sorted(found), failed


def side(url: str) -> Side:
    from django.test import Client

    from tenants.tokens import create_token

    tenant, owner = fresh_tenant()
    client = Client()
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    _row, secret = create_token(user=owner, tenant=tenant, name="bench")
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return Side(url, tenant, secret, cookies)


@dataclass
class Attack:
    """Calls that are made over and over, each by a thread of its own, until told to stop."""

    calls: list[Callable[[], Any]]
    again_seconds: float = AGAIN_SECONDS

    @contextlib.contextmanager
    def going_on(self) -> Iterator[int]:
        """The attackers' process while it lasts."""
        process = _processes.Process(target=self._go_on, daemon=True)
        process.start()
        time.sleep(SETTLE_SECONDS if self.calls else 0)
        try:
            yield process.pid or 0
        finally:
            process.kill()
            process.join()

    def _go_on(self) -> None:
        def over_and_over(call: Callable[[], Any]) -> None:
            while True:
                with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                    call()
                time.sleep(self.again_seconds)

        with ThreadPoolExecutor(max_workers=len(self.calls) or 1) as pool:
            for call in self.calls:
                pool.submit(over_and_over, call)


def attacks(bad: Side, places: dict[str, Any], nothing: str) -> dict[str, Attack]:
    job = bad.capture(places["slow"])
    nobody = replace(bad, url=nothing)
    slow = [places[name] for name in places if name.startswith("slow")]
    return {
        "nobody": Attack([]),
        "24 calls a second, against nothing": Attack([listing(nobody, places["slow"])] * 12),
        "twelve waits of 55 s": Attack([waiting(bad, places["slow"])] * 12),
        "twelve listings of a slow n8n": Attack([listing(bad, places["slow"])] * 12),
        "twelve listings without an end": Attack([listing(bad, places["endless"])] * 12),
        "six slow captures": Attack([lambda place=place: bad.capture(place) for place in slow]),
        "six listings of a gzip bomb": Attack([listing(bad, places["bomb"])] * 6),
        "120 streams of one viewer": Attack([listening(bad, job)] * 120, again_seconds=15),
        "240 calls a second, against nothing": Attack([listening(nobody, job)] * 120),
        "120 streams, whatever is refused asked for twice a second": Attack([listening(bad, job)] * 120),
        "the same of 16 browsers, against nothing": Attack([paging(nobody)] * 16, again_seconds=0.01),
        "pages, as fast as 16 browsers of one person can": Attack([paging(bad)] * 16, again_seconds=0.01),
        "made-up tokens, as fast as 16 programs can": Attack([guessing(bad)] * 16, again_seconds=0.01),
    }


def listing(by: Side, place: Any) -> Callable[[], Any]:
    return lambda: by.call("GET", f"/environments/{place.pk}/workflows", timeout=PATIENCE_SECONDS)


def waiting(by: Side, place: Any) -> Callable[[], Any]:
    return lambda: by.call("GET", f"/operations/{by.capture(place)}?wait=55", timeout=PATIENCE_SECONDS)


def listening(by: Side, job: str) -> Callable[[], Any]:
    def listen() -> None:
        path = f"/t/{by.tenant.slug}/jobs/{job}/events/"
        with client().stream("GET", by.url + path, headers={"Cookie": by.cookie}, timeout=30) as answer:
            until = time.monotonic() + PATIENCE_SECONDS
            for _ in answer.iter_bytes():
                if time.monotonic() > until:
                    break

    return listen


def paging(by: Side) -> Callable[[], Any]:
    return lambda: client().get(f"{by.url}/t/{by.tenant.slug}/jobs/", headers={"Cookie": by.cookie})


def guessing(by: Side) -> Callable[[], Any]:
    return lambda: replace(by, token=secrets.token_urlsafe()).call("GET", "/operations")


@dataclass(frozen=True)
class Measured:
    """Pages in ms, and the seconds of a capture; ``web`` and ``attackers`` are parts of one processor."""

    median: float
    p95: float
    failed: int
    capture: float
    web: float
    attackers: float

    def row(self, name: str, quiet: float) -> list[str]:
        ratio = self.p95 / quiet
        verdict = "met" if ratio <= TARGET else "**missed**"
        return [name, f"{self.median:.0f}", f"{self.p95:.0f}", f"{ratio:.1f}", verdict, str(self.failed),
                f"{self.capture:.1f}", f"{self.web:.0%}", f"{self.attackers:.0%}"]  # fmt: skip


def measured(good: Side, own: Any, attack: Attack, requests: int, web_pid: int) -> Measured:
    with attack.going_on() as attackers_pid:
        pids = [web_pid, attackers_pid]
        before, began = [worked(pid) for pid in pids], time.monotonic()
        pages, failed = good.asks(requests)
        took = time.monotonic() - began
        web, attackers = ((worked(pid) - was) / took for pid, was in zip(pids, before, strict=True))
        capture = good.captured_in(own)
    p95 = pages[int(len(pages) * 0.95) - 1]
    return Measured(statistics.median(pages), p95, failed, capture, web, attackers)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--only", default="", help="words of attacks' names, by commas")
    options = parser.parse_args()
    start_django()
    with (
        tempfile.TemporaryDirectory() as folder,
        own_git_root(),
        served(Attacker, "127.0.0.1") as hostile,
        served(Attacker, "127.0.0.2") as well,
        served(Nothing, "127.0.0.1") as nothing,
    ):
        here = {"OPSCONSOLE_N8N_ALLOWED_NETWORKS": "127.0.0.0/8", "OPSCONSOLE_N8N_ALLOW_HTTP": "1"}
        here |= {"OPSCONSOLE_DB_POOL": "12", "OPSCONSOLE_WORKERS": "4", **LIMITS}
        with running_console(Path(folder), **here) as console:
            rows = compared(console, hostile, well, nothing, options)
    command = f"script/bench neighbours --requests {options.requests}"
    note = (
        f"Pages of the tenant that is not attacking, {options.requests} in turns, and one capture of its own."
        " The worker has four places, the web process twelve pooled connections; one person may ask 10 times a second, 100"
        f" in a burst. Pages are asked from {SETTLE_SECONDS:.0f} s after an attack began; the last two columns are parts of"
        " one processor meanwhile."
        f" Attackers leave a call after {PATIENCE_SECONDS:.0f} s, or when it is refused, and make the next half a second"
        " later; slow captures that they began go on through all rows below.\n"
        f"Load of the machine over the last 15 minutes: {os.getloadavg()[2]:.1f}.\n\n"
    )
    head = ["under attack by", "median ms", "p95 ms", "p95 / quiet", "≤ 2", "failed", "own capture s"]
    head += ["web's processor", "attackers' processor"]
    save(
        "neighbours", command=command, title="What a tenant notices of another's attack", body=note + table(head, rows)
    )


def compared(console: Running, hostile: str, well: str, nothing: str, options: argparse.Namespace) -> list[list[str]]:
    bad, good = side(console.url), side(console.url)
    names = ("slow", "slow-2", "slow-3", "slow-4", "slow-5", "slow-6", "endless", "bomb")
    places = {
        name: environment_of(bad.tenant, base_url=f"{hostile}/{name.partition('-')[0]}", api_key="key", name=name)
        for name in names
    }
    own = environment_of(good.tenant, base_url=f"{well}/well", api_key="key", name="Own")
    good.asks(20)
    good.captured_in(own)
    rows: list[list[str]] = []
    quiet = 0.0
    for name, attack in attacks(bad, places, nothing).items():
        if quiet and options.only and not any(word in name for word in options.only.split(",")):
            continue
        found = measured(good, own, attack, options.requests, console.web_pid)
        quiet = quiet or found.p95
        rows.append(found.row(name, quiet))
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
